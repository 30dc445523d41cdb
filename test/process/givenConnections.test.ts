import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import type * as net from "node:net"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import type { Crowd, Talker } from "../kit/talkers.ts"
import * as talkers from "../kit/talkers.ts"
import { reportOf, upgrade } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"

const startTalking = (app: Record<string, unknown> = {}) => start(fixture("talking.mjs"), { app })

const at = ({ port }: { readonly port: number }): net.NetConnectOpts => ({ host: "127.0.0.1", port })

const crowd = (target: net.NetConnectOpts, count: number, pause: number) =>
  Effect.acquireRelease(
    Effect.promise(() => talkers.crowd(target, count, pause)),
    (crowd) => Effect.promise(crowd.end)
  )

const connect = (target: net.NetConnectOpts) =>
  Effect.acquireRelease(Effect.promise(() => talkers.connect(target)), (talker) => Effect.sync(talker.end))

const say = (talker: Talker, text?: string) => Effect.promise(() => talker.say(text))

const nobodyNoticed = (crowd: Crowd) => {
  assert.deepStrictEqual(crowd.failures, [])
  assert.deepStrictEqual(crowd.talkers.flatMap((talker) => talker.ending() ?? []), [])
  assert.deepStrictEqual(crowd.talkers.filter((talker) => talker.greetings() !== 1), [])
}

const liveThrough = (
  app: Handle,
  options: { readonly busy: number; readonly idle: number; readonly upgrades: number }
) =>
  Effect.gen(function*() {
    let last = yield* app.up(1)
    const busy = yield* crowd(at(last), options.busy, 0)
    const idle = yield* crowd(at(last), options.idle, 1_000)
    const all = options.busy + options.idle
    for (let count = 0; count < options.upgrades; count++) {
      yield* eventually("clients to be answered here", () => (busy.generations.get(last.generation) ?? 0) > 200)
      const { next, report } = yield* upgrade(app, last)
      assert.deepStrictEqual([report.open, report.opaque, report.handedOver], [all, all, all])
      last = next
    }
    for (const one of [busy, idle]) {
      yield* Effect.promise(one.rest)
      nobodyNoticed(one)
      for (const talker of one.talkers) assert.strictEqual((yield* say(talker)).pid, last.pid)
    }
    return { busy, idle }
  })

describe.runIf(isLinux)("connections of a protocol of the app's own, which it gives,", () => {
  it.scopedLive("live through six upgrades, with both numbers going on where they were", () =>
    Effect.gen(function*() {
      const app = yield* startTalking({ pushes: 5 })
      const { busy } = yield* liveThrough(app, { busy: 32, idle: 100, upgrades: 6 })
      for (const talker of busy.talkers) assert.isAbove(talker.pushes(), 10)
    }), 120_000)

  it.scopedLive("go when answers that take a while are out", () =>
    Effect.gen(function*() {
      const app = yield* startTalking({ slow: 3 })
      yield* liveThrough(app, { busy: 16, idle: 16, upgrades: 5 })
    }), 120_000)

  it.scopedLive("are at a Unix socket, new or in the middle of a line", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "app.sock")
      const app = yield* startTalking({ listen: { path: socket } })
      const first = yield* app.up(1)
      const fresh = yield* connect({ path: socket })
      const middle = yield* connect({ path: socket })
      yield* say(middle)
      const { finish } = middle.half()
      yield* eventually("the greeting", () => fresh.greetings() === 1)
      const second = yield* upgrade(app, first)
      assert.deepStrictEqual([second.report.open, second.report.handedOver], [2, 2])
      const third = yield* upgrade(app, second.next)
      assert.deepStrictEqual([third.report.open, third.report.handedOver], [2, 2])
      assert.strictEqual((yield* Effect.promise(finish)).pid, third.next.pid)
      assert.strictEqual((yield* say(fresh)).pid, third.next.pid)
      assert.deepStrictEqual([fresh.greetings(), middle.greetings()], [1, 1])
    }))

  it.scopedLive(
    "end for their handlers, with all that those do in the end, before the next one begins",
    () =>
      Effect.gen(function*() {
        const journal = path.join(yield* directory, "journal")
        const app = yield* startTalking({ journal })
        const { busy, idle } = yield* liveThrough(app, { busy: 8, idle: 8, upgrades: 5 })
        const lines = fs.readFileSync(journal, "utf8").split("\n")
        for (const { port } of [...busy.talkers, ...idle.talkers]) {
          const seen = lines.filter((line) => line.startsWith(`${port} `)).map((line) => line.slice(`${port} `.length))
          const expected = [1, 2, 3, 4, 5].flatMap((generation) => [`begins ${generation}`, `ends ${generation}`])
          assert.deepStrictEqual(seen, [...expected, "begins 6"])
        }
      }),
    120_000
  )
})

describe.runIf(isLinux)("connections of a protocol of the app's own are drained, as ever,", () => {
  /** The old process goes on serving it until time is over. */
  const drained = (app: Record<string, unknown>, check: (handle: Handle) => void = () => {}) =>
    Effect.gen(function*() {
      const { upgrader, ...others } = app as { readonly upgrader?: object }
      const handle = yield* startTalking({ ...others, upgrader: { drainTimeout: "2 seconds", ...upgrader } })
      const first = yield* handle.up(1)
      const talker = yield* connect(at(first))
      yield* say(talker)
      yield* signal(first.pid, "SIGHUP")
      yield* handle.up(2)
      yield* handle.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      assert.strictEqual((yield* say(talker)).pid, first.pid)
      const { forced, handedOver } = yield* reportOf(handle, first.pid)
      assert.deepStrictEqual([handedOver, forced], [0, 1])
      yield* eventually("it to be closed", () => talker.ending() !== undefined)
      check(handle)
    })

  const newer = (app: object) => ({ upgrader: { environment: { APP: JSON.stringify(app) } } })

  it.scopedLive("when the new release takes another key", () => drained(newer({ takes: ["talk.v2"] })))

  it.scopedLive("when the new release takes none, or the server says so", () =>
    Effect.zipRight(drained(newer({ takes: [] })), drained({ serve: { handOver: false } })))

  it.scopedLive("when the server of the new release is full", () => drained(newer({ server: { maxConnections: 0 } })))

  it.scopedLive("when the app throws as it is asked, or says too much, and that is told", () =>
    Effect.zipRight(
      drained({ throws: true }, (handle) => assert.match(handle.dump(), /does not know its own state/)),
      drained({ large: true }, (handle) => assert.match(handle.dump(), /2000000 bytes/))
    ))
})
