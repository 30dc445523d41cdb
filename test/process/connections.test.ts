import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import type * as net from "node:net"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { ours } from "../kit/descriptors.ts"
import { directory } from "../kit/files.ts"
import type { Crowd, CrowdOptions, Keeper } from "../kit/keepers.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { reportOf, upgrade } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"

const hears = ["message", "disconnect", "internalMessage"]

const nothing = ["undefined", "undefined", "undefined", "undefined", "undefined"].join(",")

/** Clients that pause are not to be closed for it. */
const patient = { keepAliveTimeout: 60_000 }

const startKeeping = (app: Record<string, unknown> = {}) =>
  start(fixture("keeping.mjs"), { app: { server: patient, ...app } })

const at = ({ port }: { readonly port: number }): net.NetConnectOpts => ({ host: "127.0.0.1", port })

const crowd = (options: CrowdOptions) =>
  Effect.acquireRelease(Effect.promise(() => keepers.crowd(options)), (crowd) => Effect.promise(crowd.end))

const connect = (target: net.NetConnectOpts) =>
  Effect.acquireRelease(Effect.promise(() => keepers.connect(target)), (keeper) => Effect.sync(keeper.end))

const askOn = (keeper: Keeper, options?: keepers.AskOptions) => Effect.promise(() => keeper.ask(options))

const nobodyNoticed = (crowd: Crowd) => {
  assert.deepStrictEqual(crowd.failures, [])
  assert.deepStrictEqual([crowd.closed(), crowd.toldToGo()], [0, 0])
}

describe.runIf(isLinux)("the channel between two generations", () => {
  it.scopedLive("is not seen by the app, nor by what it starts, and keeps nobody alive", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping({ hears })
      let last = yield* app.up(1)
      for (const generation of [2, 3]) {
        yield* signal(last.pid, "SIGHUP")
        const next = yield* app.up(generation)
        const [, seen] = yield* app.waitFor(new RegExp(`^CHANNEL ${next.pid} ${generation} (.*)`))
        assert.strictEqual(seen, nothing)
        yield* onlyAlive(app, [next.pid])
        yield* app.waitFor(new RegExp(`^EXIT ${last.pid} 0`))
        const { body } = yield* ask(next.port, { path: "/grandchild" })
        assert.notMatch(body, /NODE_CHANNEL|TABLEFLIP/)
        assert.deepStrictEqual(ours(body), [])
        last = next
      }
      yield* signal(last.pid, "SIGTERM")
      yield* app.waitFor(new RegExp(`^EXIT ${last.pid} 0`))
      assert.notMatch(app.lines().join("\n"), /^HEARD/m)
    }))
})

describe.runIf(isLinux)("connections of clients that never connect again", () => {
  it.scopedLive(
    "live through ten upgrades under load, and each request is answered once",
    () =>
      Effect.gen(function*() {
        const app = yield* startKeeping()
        let last = yield* app.up(1)
        const clients = yield* crowd({ target: at(last), count: 32, pause: 0 })
        for (let count = 0; count < 10; count++) {
          yield* eventually(
            "every client to be answered here",
            () => (clients.generations.get(last.generation) ?? 0) > 200
          )
          const { next, report } = yield* upgrade(app, last)
          assert.deepStrictEqual([report.open, report.handedOver], [32, 32])
          last = next
        }
        yield* Effect.promise(clients.rest)
        nobodyNoticed(clients)
        for (const keeper of clients.keepers) {
          const answer = yield* askOn(keeper)
          assert.deepStrictEqual([answer.pid, answer.remote], [last.pid, keeper.local])
        }
        yield* signal(last.pid, "SIGWINCH")
        yield* app.waitFor(new RegExp(`^CONNECTIONS ${last.pid} 32$`))
      }),
    120_000
  )

  it.scopedLive("live through three upgrades, a thousand of them, most of them idle", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping()
      let last = yield* app.up(1)
      const clients = yield* crowd({ target: at(last), count: 1_000, pause: 3_000 })
      for (let count = 0; count < 3; count++) {
        yield* eventually(
          "many clients to be answered here",
          () => (clients.generations.get(last.generation) ?? 0) > 300
        )
        const { next, report } = yield* upgrade(app, last)
        assert.deepStrictEqual([report.open, report.handedOver], [1_000, 1_000])
        last = next
      }
      yield* Effect.promise(clients.rest)
      nobodyNoticed(clients)
    }), 120_000)

  it.scopedLive("are handed over before their first request, and at a Unix socket too", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "app.sock")
      const app = yield* startKeeping({ listen: { path: socket } })
      const first = yield* app.up(1)
      const fresh = yield* connect({ path: socket })
      const used = yield* connect({ path: socket })
      // Accepted in their order: so both are, when the second one is answered.
      assert.strictEqual((yield* askOn(used)).pid, first.pid)
      const { next, report } = yield* upgrade(app, first)
      assert.deepStrictEqual([report.idle, report.fresh, report.handedOver], [1, 1, 2])
      const third = yield* upgrade(app, next)
      assert.deepStrictEqual([third.report.idle, third.report.fresh, third.report.handedOver], [1, 1, 2])
      for (const keeper of [fresh, used]) {
        assert.strictEqual((yield* askOn(keeper, { body: "x".repeat(100_000) })).pid, third.next.pid)
        assert.isFalse(keeper.wasToldToGo())
      }
    }))

  it.scopedLive("go after the answers that are under way", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping()
      const first = yield* app.up(1)
      const clients = yield* Effect.replicateEffect(connect(at(first)), 4)
      const [waits, streams, half, body] = clients as [Keeper, Keeper, Keeper, Keeper]
      for (const keeper of clients) yield* askOn(keeper)
      const gate = path.join(yield* directory, "gate")
      const until = () => fs.existsSync(gate)
      const answers = Promise.all([
        half.ask({ cuts: [30], until }),
        body.ask({ body: "x".repeat(2_000), cuts: [500, 1_000], until }),
        waits.ask({ path: `/?gate=${gate}` }),
        streams.ask({ path: `/?gate=${gate}&stream` })
      ])
      yield* app.waitForCount(new RegExp(`^SERVING ${first.pid}`), 2)
      yield* signal(first.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      // The state of each is looked at when the drain begins, a moment later.
      yield* Effect.sleep("1 second")
      fs.writeFileSync(gate, "")
      const report = yield* reportOf(app, first.pid)
      assert.deepStrictEqual([report.inFlight, report.handedOver], [4, 4])
      for (const answer of yield* Effect.promise(() => answers)) assert.strictEqual(answer.pid, first.pid)
      for (const keeper of clients) {
        assert.strictEqual((yield* askOn(keeper)).pid, next.pid)
        assert.isFalse(keeper.wasToldToGo())
      }
    }))

  it.scopedLive("are cut nowhere: requests of which any number of bytes has come by then", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping()
      const first = yield* app.up(1)
      const clients = yield* Effect.replicateEffect(connect(at(first)), 70, { concurrency: 10 })
      for (const keeper of clients) yield* askOn(keeper)
      const gate = path.join(yield* directory, "gate")
      const answers = Promise.all(
        clients.map((keeper, index) => keeper.ask({ body: "body", cuts: [index], until: () => fs.existsSync(gate) }))
      )
      yield* signal(first.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      // A request is cut by time for some and by the hand-over for others.
      fs.writeFileSync(gate, "")
      yield* Effect.promise(() => answers)
      const { handedOver } = yield* reportOf(app, first.pid)
      assert.strictEqual(handedOver, 70)
      for (const keeper of clients) assert.strictEqual((yield* askOn(keeper)).pid, next.pid)
    }))
})

describe.runIf(isLinux)("a connection that was handed over", () => {
  it.scopedLive("is closed after keepAliveTimeout, and not before", () =>
    Effect.gen(function*() {
      const newer = JSON.stringify({ server: { keepAliveTimeout: 5_000 } })
      const app = yield* startKeeping({ upgrader: { environment: { APP: newer } } })
      const first = yield* app.up(1)
      const idle = yield* connect(at(first))
      const busy = yield* connect(at(first))
      for (const keeper of [idle, busy]) yield* askOn(keeper)
      const { next, report } = yield* upgrade(app, first)
      assert.strictEqual(report.handedOver, 2)
      const slow = yield* Effect.fork(askOn(busy, { path: "/?slow=8000" }))
      yield* eventually("the idle one to be closed", () => idle.ending() !== undefined)
      assert.strictEqual((yield* slow).pid, next.pid)
    }))

  it.scopedLive("waits for its next request for longer than headersTimeout, which is for new ones", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping({
        http: { connectionsCheckingInterval: 50, headersTimeout: 500, requestTimeout: 800, keepAliveTimeout: 0 }
      })
      const first = yield* app.up(1)
      const used = yield* connect(at(first))
      yield* askOn(used)
      const { next, report } = yield* upgrade(app, first)
      assert.strictEqual(report.handedOver, 1)
      const fresh = yield* connect(at(next))
      yield* eventually("the new one to get its 408", () => fresh.ending() !== undefined, { within: "10 seconds" })
      assert.strictEqual((yield* askOn(used)).pid, next.pid)
      used.write("GET /half")
      yield* eventually("half a request to get its 408", () => used.ending() !== undefined, { within: "10 seconds" })
    }))
})

describe.runIf(isLinux)("connections are drained, as ever,", () => {
  const drained = (app: Record<string, unknown>) =>
    Effect.gen(function*() {
      const handle = yield* startKeeping(app)
      const first = yield* handle.up(1)
      const keeper = yield* connect(at(first))
      yield* askOn(keeper)
      yield* signal(first.pid, "SIGHUP")
      const next = yield* handle.up(2)
      yield* handle.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      assert.strictEqual((yield* askOn(keeper)).pid, first.pid)
      assert.isTrue(keeper.wasToldToGo())
      const { handedOver, sentAway } = yield* reportOf(handle, first.pid)
      assert.deepStrictEqual([handedOver, sentAway], [0, 1])
      return next
    })

  it.scopedLive("when the upgrader says so", () => drained({ upgrader: { handOver: false } }))

  it.scopedLive("when the server says so", () => drained({ serve: { handOver: false } }))

  it.scopedLive("when the new release says so, or knows nothing of it", () =>
    drained({ upgrader: { environment: { APP: JSON.stringify({ serve: { handOver: false } }) } } }).pipe(
      Effect.zipRight(
        drained({ upgrader: { environment: { APP: JSON.stringify({ upgrader: { handOver: false } }) } } })
      )
    ))

  it.scopedLive("when the old release does not offer it", () =>
    drained({ upgrader: { handOver: false, environment: { APP: "{}" } } }))

  it.scopedLive(
    "when a release without it is followed by one with it, and that by one without, under load",
    () =>
      Effect.gen(function*() {
        const then = (app: object) => ({ environment: { APP: JSON.stringify({ server: patient, ...app }) } })
        const without = { upgrader: { handOver: false } }
        const app = yield* startKeeping({
          upgrader: { handOver: false, ...then({ upgrader: then({ upgrader: then(without) }) }) }
        })
        let last = yield* app.up(1)
        for (const goes of [false, true, false]) {
          let isOver = false
          const clients = yield* Effect.replicateEffect(connect(at(last)), 32)
          let answered = 0
          const goesOn = () => !isOver
          const untilToldToGo = async (client: Keeper) => {
            while (goesOn() && !client.wasToldToGo()) {
              await client.ask(answered % 3 === 0 ? { body: "body" } : {})
              answered++
            }
          }
          const all = Promise.all(clients.map(untilToldToGo))
          yield* eventually("answers", () => answered > 200)
          const { next, report } = yield* upgrade(app, last)
          isOver = true
          yield* Effect.promise(() => all)
          assert.strictEqual(clients.filter((client) => client.wasToldToGo()).length, goes ? 0 : 32)
          assert.strictEqual(report.handedOver, goes ? report.open : 0)
          last = next
        }
      }),
    120_000
  )

  it.scopedLive("when the server of the new release is full", () =>
    drained({ upgrader: { environment: { APP: JSON.stringify({ server: { maxConnections: 0 } }) } } }))

  it.scopedLive("when the new process dies before it has taken them, and nothing is lost with it", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping({ stuck: 2 })
      const first = yield* app.up(1)
      const clients = yield* Effect.replicateEffect(connect(at(first)), 20)
      for (const keeper of clients) yield* askOn(keeper)
      yield* signal(first.pid, "SIGHUP")
      const second = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      // One is on its way; the others are served here meanwhile.
      const answers = Promise.all(clients.map((keeper) => keeper.ask()))
      yield* Effect.sleep("300 millis")
      process.kill(second.pid, "SIGKILL")
      for (const answer of yield* Effect.promise(() => answers)) assert.strictEqual(answer.pid, first.pid)
      const left = clients.filter((keeper) => !keeper.wasToldToGo())
      for (const keeper of left) assert.strictEqual((yield* askOn(keeper)).pid, first.pid)
      assert.isTrue(clients.every((keeper) => keeper.wasToldToGo()))
      const { handedOver, refused, sentAway } = yield* reportOf(app, first.pid)
      assert.deepStrictEqual([handedOver, sentAway, refused], [0, 20, 1])
    }))

  it.scopedLive("when the new process does not take them in time", () =>
    Effect.gen(function*() {
      const app = yield* startKeeping({ stuck: 2, upgrader: { drainTimeout: "15 seconds" } })
      const first = yield* app.up(1)
      const clients = yield* Effect.replicateEffect(connect(at(first)), 20)
      for (const keeper of clients) yield* askOn(keeper)
      yield* signal(first.pid, "SIGHUP")
      const second = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      // All but the one that is on its way are told to go after a while.
      const served = new Set<Keeper>()
      yield* eventually("all but one to be told to go", () => {
        for (const keeper of clients) {
          if (served.has(keeper) || keeper.ending() !== undefined) continue
          served.add(keeper)
          keeper.ask().then(() => served.delete(keeper), () => {})
        }
        return clients.filter((keeper) => keeper.wasToldToGo()).length === 19
      }, { within: "20 seconds" })
      const { handedOver, sentAway } = yield* reportOf(app, first.pid)
      assert.deepStrictEqual([handedOver, sentAway], [1, 19])
      process.kill(second.pid, "SIGKILL")
    }))
})
