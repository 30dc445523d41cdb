/**
 * Connections of a pool's clients, which never connect again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { ServerReport } from "../../src/Drain.ts"
import { ask } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import type { Answer, Crowd, CrowdOptions, Keeper } from "../kit/keepers.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const startPool = (pool: object = {}, behaviour: object = {}) =>
  Effect.gen(function*() {
    const program = yield* start(fixture("workers.mjs"), {
      app: { pool, behaviour: { keeps: { keepAliveTimeout: 60_000 }, ...behaviour } }
    })
    const primary = yield* program.up(1)
    const [, port] = yield* program.waitFor(/^WORKER \d+ \d+ \d+ \d+ (\d+)/)
    return { program, primary, target: { host: "127.0.0.1", port: Number(port) } }
  })

const crowd = (options: CrowdOptions) =>
  Effect.acquireRelease(Effect.promise(() => keepers.crowd(options)), (crowd) => Effect.promise(crowd.end))

/** So many clients, each of which has had an answer. */
const connectAll = (target: CrowdOptions["target"], count: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const clients: Array<Keeper> = []
      for (let made = 0; made < count; made++) {
        const client = await keepers.connect(target)
        await client.ask()
        clients.push(client)
      }
      return clients
    }),
    (clients) => Effect.sync(() => clients.forEach((client) => client.end()))
  )

/** One more answer for each; none where the connection has ended. */
const askEach = (clients: ReadonlyArray<Keeper>) =>
  Effect.promise(() => Promise.all(clients.map((client) => client.ask({ body: "body" }).catch(() => undefined))))

const answeredBy = (answers: ReadonlyArray<Answer | undefined>, pid: number) =>
  answers.filter((answer) => answer?.pid === pid).length

/** The workers of a generation. */
const workersOf = (program: Handle, generation: number): ReadonlyArray<number> =>
  program.lines().flatMap((line) => {
    const match = /^WORKER (\d+) \d+ (\d+)/.exec(line)
    return match !== null && Number(match[2]) === generation ? [Number(match[1])] : []
  })

const drained = (program: Handle, pid: number) =>
  Effect.gen(function*() {
    const [, json] = yield* program.waitFor(new RegExp(`^DRAINED ${pid} (.*)`), "60 seconds")
    const [server] = (JSON.parse(json!) as { readonly servers: ReadonlyArray<ServerReport> }).servers
    const { finished, forced, handedOver, open, sentAway, timedOut } = server!
    assert.strictEqual(open, finished + sentAway + handedOver + timedOut + forced)
    return server!
  })

/** How many connections the workers of a generation had when they ended, and how many of those went to others. */
const totals = (program: Handle, generation: number) =>
  Effect.map(
    Effect.forEach(workersOf(program, generation), (pid) => drained(program, pid)),
    (reports) =>
      [
        reports.reduce((sum, { open }) => sum + open, 0),
        reports.reduce((sum, { handedOver }) => sum + handedOver, 0)
      ] as const
  )

/** One that these had not accepted yet was accepted by others. */
const allWent = (program: Handle, generation: number) =>
  Effect.map(totals(program, generation), ([open, handedOver]) => {
    assert.isAbove(open, 32)
    assert.strictEqual(handedOver, open)
  })

const answeredIn = (clients: Crowd, generation: number, count: number) =>
  eventually("clients to be answered there", () => (clients.generations.get(generation) ?? 0) > count)

const nobodyNoticed = (clients: Crowd) => {
  assert.deepStrictEqual(clients.failures, [])
  assert.deepStrictEqual([clients.closed(), clients.toldToGo()], [0, 0])
}

type Primary = Effect.Effect.Success<ReturnType<Handle["up"]>>

/** However long it takes here. */
const tell = ({ port }: Primary, path: string) => ask(port, { path, within: 60_000 })

const roll = (primary: Primary) => tell(primary, "/replace")

describe.runIf(isLinux)("connections of clients of a pool that never connect again", () => {
  it.scopedLive("live through five rolls under load, and each request is answered once", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool()
      const busy = yield* crowd({ target, count: 32, pause: 0 })
      const idle = yield* crowd({ target, count: 200, pause: 2_000 })
      for (let generation = 1; generation <= 5; generation++) {
        yield* answeredIn(busy, generation, 200)
        yield* roll(primary)
        yield* allWent(program, generation)
      }
      yield* Effect.promise(() => Promise.all([busy.rest(), idle.rest()]))
      nobodyNoticed(busy)
      nobodyNoticed(idle)
    }), 180_000)

  it.scopedLive("live at a Unix socket too", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "app.sock")
      const { primary, program } = yield* startPool({ listen: [{ path: socket }] }, { path: socket })
      const clients = yield* connectAll({ path: socket }, 10)
      yield* roll(primary)
      assert.deepStrictEqual(yield* totals(program, 1), [10, 10])
      for (const answer of yield* askEach(clients)) assert.include(workersOf(program, 2), answer?.pid)
    }), 60_000)

  it.scopedLive("go on a channel that the app does not see", () =>
    Effect.gen(function*() {
      const { program } = yield* startPool()
      for (const pid of workersOf(program, 1)) {
        const [, seen] = yield* program.waitFor(new RegExp(`^CHANNEL ${pid} (.*)`))
        assert.strictEqual(seen, "undefined,undefined,undefined,undefined,undefined")
      }
    }))

  it.scopedLive("live when the pool becomes smaller, spread evenly over those that stay", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool({ size: 5 })
      const clients = yield* connectAll(target, 200)
      const before = yield* askEach(clients)
      yield* tell(primary, "/resize/2")
      const stay = workersOf(program, 1).filter(isAlive)
      const gone = workersOf(program, 1).filter((pid) => !isAlive(pid))
      assert.deepStrictEqual([stay.length, gone.length], [2, 3])
      const reports = yield* Effect.forEach(gone, (pid) => drained(program, pid))
      assert.deepStrictEqual(reports.map(({ handedOver }) => handedOver), reports.map(({ open }) => open))
      const after = yield* askEach(clients)
      const gained = stay.map((pid) => answeredBy(after, pid) - answeredBy(before, pid))
      assert.strictEqual(gained[0]! + gained[1]!, reports.reduce((sum, { open }) => sum + open, 0))
      assert.isAtMost(Math.abs(gained[0]! - gained[1]!), 1)
      assert.strictEqual(clients.filter((client) => client.wasToldToGo()).length, 0)
    }), 60_000)

  it.scopedLive("live when it becomes smaller under load", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool({ size: 3 })
      const clients = yield* crowd({ target, count: 32, pause: 0 })
      for (const size of [2, 1]) {
        yield* eventually("every client to be answered", () => clients.answered() > 500 * (3 - size))
        yield* tell(primary, `/resize/${size}`)
      }
      yield* Effect.promise(clients.rest)
      nobodyNoticed(clients)
      const [left] = workersOf(program, 1).filter(isAlive)
      assert.strictEqual(answeredBy(yield* askEach(clients.keepers), left!), 32)
    }), 60_000)

  it.scopedLive("go to the old workers when a roll fails", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const { primary, program, target } = yield* startPool({ replace: { atOnce: 2 } }, { fails: { index: 1, gate } })
      const old = workersOf(program, 1)
      yield* Effect.fork(roll(primary))
      yield* program.waitFor(/^EVENT \d+ Ready .*"index":0,"pid":\d+,"generation":2/)
      // The new one alone accepts meanwhile.
      for (const pid of old) yield* signal(pid, "SIGSTOP")
      const clients = yield* connectAll(target, 20)
      for (const pid of old) yield* signal(pid, "SIGCONT")
      fs.writeFileSync(gate, "")
      yield* program.waitFor(/^REPLACE ReplaceError/)
      assert.deepStrictEqual(yield* totals(program, 2), [20, 20])
      for (const answer of yield* askEach(clients)) assert.include(old, answer?.pid)
      assert.strictEqual(clients.filter((client) => client.wasToldToGo()).length, 0)
    }), 60_000)

  it.scopedLive("live through three upgrades of the primary under load", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool()
      const busy = yield* crowd({ target, count: 32, pause: 5 })
      const idle = yield* crowd({ target, count: 200, pause: 2_000 })
      let last = primary
      for (let generation = 1; generation <= 3; generation++) {
        yield* answeredIn(busy, generation, 200)
        yield* signal(last.pid, "SIGHUP")
        const next = yield* program.up(last.generation + 1)
        yield* allWent(program, generation)
        yield* eventually("the older primary to be gone", () => !isAlive(last.pid))
        last = next
      }
      yield* Effect.promise(() => Promise.all([busy.rest(), idle.rest()]))
      nobodyNoticed(busy)
      nobodyNoticed(idle)
    }), 120_000)

  it.scopedLive("are drained with handOver: false", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool({ handOver: false, size: 1 })
      const clients = yield* connectAll(target, 8)
      const [pid = 0] = workersOf(program, 1)
      yield* Effect.fork(roll(primary))
      yield* program.waitFor(new RegExp(`^DRAINING ${pid}`))
      for (const client of clients) {
        assert.strictEqual((yield* Effect.promise(() => client.ask())).pid, pid)
        assert.isTrue(client.wasToldToGo())
      }
      const { handedOver, open, sentAway } = yield* drained(program, pid)
      assert.deepStrictEqual([open, sentAway, handedOver], [8, 8, 0])
    }), 60_000)

  it.scopedLive(
    "are served on, but for those it has taken, when what replaces their worker is killed as they go",
    () =>
      Effect.gen(function*() {
        const { primary, program, target } = yield* startPool({ size: 1 }, {
          killAmidst: { after: 50, what: "worker" }
        })
        const clients = yield* connectAll(target, 200)
        const [pid = 0] = workersOf(program, 1)
        yield* Effect.fork(roll(primary))
        yield* program.waitFor(/^EVENT \d+ Exited .*SIGKILL/, "60 seconds")
        const answers = yield* askEach(clients)
        for (const client of clients) client.end()
        const { handedOver, open } = yield* drained(program, pid)
        assert.strictEqual(open, 200)
        assert.isAbove(handedOver, 30)
        assert.strictEqual(answeredBy(answers, pid), 200 - handedOver)
        assert.strictEqual(answers.filter((answer) => answer === undefined).length, handedOver)
      }),
    120_000
  )

  /** 200 of one worker's connections go to another, which kills its primary when it has 50. */
  const primaryKilled = (replace: (primary: Primary) => Effect.Effect<unknown, unknown>, killed: RegExp) =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool({ size: 1 }, { killAmidst: { after: 50, what: "primary" } })
      const clients = yield* connectAll(target, 200)
      const [older = 0] = workersOf(program, 1)
      yield* Effect.fork(Effect.exit(replace(primary)))
      const [, pid] = yield* program.waitFor(killed)
      yield* program.waitFor(/^WORKER \d+ 0 2 /)
      yield* eventually("the primary to be gone", () => !isAlive(Number(pid)))
      const answers = yield* askEach(clients)
      for (const client of clients) client.end()
      const { handedOver } = yield* drained(program, older)
      const [newer = 0] = workersOf(program, 2)
      assert.strictEqual(answeredBy(answers, older), 200 - handedOver)
      assert.isAtLeast(answeredBy(answers, newer), 49)
      assert.isAtMost(handedOver - answeredBy(answers, newer), 16)
    })

  it.scopedLive(
    "are answered once, but for the few that are on their way, when the primary is killed as they go",
    () => primaryKilled(roll, /^UP (\d+) 1 /),
    120_000
  )

  it.scopedLive(
    "are answered once, but for the few that are on their way, when the newer primary is killed as they go to its workers",
    () => primaryKilled(({ pid }) => signal(pid, "SIGHUP"), /^UP (\d+) 2 /),
    120_000
  )
})
