/**
 * Connections that the app gives, of a protocol of its own and WebSockets, under tableflip: of a pool, which go through both
 * primaries and tableflip, and of several copies of a command. Their clients never connect again, and check every number.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal } from "../kit/processes.ts"
import { run } from "../kit/tableflip.ts"
import * as talkers from "../kit/talkers.ts"
import { reportOf } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"
import { answeredBy, connect } from "../kit/webSockets.ts"

const size = 2

interface Arrangement {
  readonly what: string
  readonly options: ReadonlyArray<string>
  readonly app: object
}

const arrangements: ReadonlyArray<Arrangement> = [
  { what: "a pool", options: [], app: { workers: size } },
  { what: "two copies of a command", options: ["--workers", String(size)], app: {} }
]

const startProgram = (program: string, { app, options }: Arrangement) =>
  Effect.gen(function*() {
    const target = { host: "127.0.0.1", port: yield* freePort }
    const handle = yield* run({
      options: ["--listen", `${target.host}:${target.port}`, "--ready-wire", ...options],
      command: [process.execPath, fixture(program)],
      app: { listen: target, ...app }
    })
    yield* serving(handle, 1)
    return { handle, target }
  })

/** The processes that serve in a generation, when all of them do. */
const serving = (handle: Handle, generation: number) =>
  eventually(`generation ${generation}`, () => {
    const pids = handle.lines().flatMap((line) => /^UP (\d+) /.exec(line)?.slice(1).map(Number) ?? [])
    return pids.length >= generation * size && pids.slice((generation - 1) * size, generation * size)
  }, { within: "60 seconds", seen: handle.dump })

/** One reload. All that the older processes have goes to the newer ones. */
const reload = (handle: Handle, generation: number, count: number) =>
  Effect.gen(function*() {
    yield* signal(handle.pid, "SIGHUP")
    const newer = yield* serving(handle, generation + 1)
    const older = yield* serving(handle, generation)
    const reports = yield* Effect.forEach(older, (pid) => reportOf(handle, pid))
    const sum = (of: (report: (typeof reports)[number]) => number) => reports.reduce((all, one) => all + of(one), 0)
    assert.deepStrictEqual([sum(({ open }) => open), sum(({ handedOver }) => handedOver)], [count, count])
    yield* handle.waitFor(new RegExp(`generation ${generation + 1} has taken over, and the older`), "60 seconds")
    return newer
  })

describe.runIf(isLinux)("connections that the app gives, under tableflip,", () => {
  for (const arrangement of arrangements) {
    it.scopedLive(`live through two reloads, of ${arrangement.what}`, () =>
      Effect.gen(function*() {
        const { handle, target } = yield* startProgram("talking.mjs", {
          ...arrangement,
          app: { ...arrangement.app, pushes: 5 }
        })
        const crowd = yield* Effect.acquireRelease(
          Effect.promise(() => talkers.crowd(target, 32, 5)),
          (crowd) => Effect.promise(crowd.end)
        )
        for (const generation of [1, 2]) {
          const pushed = crowd.talkers.map((talker) => talker.pushes())
          yield* eventually("each to be told something", () =>
            crowd.talkers.every((talker, index) => talker.pushes() > pushed[index]! + 5))
          yield* reload(handle, generation, 32)
        }
        yield* Effect.promise(crowd.rest)
        assert.deepStrictEqual(crowd.failures, [])
        assert.deepStrictEqual(
          crowd.talkers.flatMap((talker) =>
            talker.ending() ?? []
          ),
          []
        )
        assert.deepStrictEqual(crowd.talkers.filter((talker) => talker.greetings() !== 1), [])
        const last = yield* serving(handle, 3)
        for (const talker of crowd.talkers) assert.include(last, (yield* Effect.promise(() => talker.say())).pid)
      }), 120_000)

    it.scopedLive(`live through two reloads as WebSockets, of ${arrangement.what}`, () =>
      Effect.gen(function*() {
        const { handle, target } = yield* startProgram("sockets.mjs", arrangement)
        const clients = yield* Effect.replicateEffect(connect(target.port), 24, { concurrency: 8 })
        for (const generation of [1, 2, 3]) {
          const pids = yield* serving(handle, generation)
          yield* eventually("each to be answered here", () =>
            clients.every((client) => pids.some((pid) => answeredBy(client, pid))), { seen: handle.dump })
          if (generation < 3) {
            yield* reload(handle, generation, 24)
          }
        }
        assert.deepStrictEqual(
          clients.flatMap(({ wrong }) =>
            wrong
          ),
          []
        )
        assert.deepStrictEqual(clients.flatMap(({ code }) => code ?? []), [])
        for (const client of clients) assert.isAbove(client.pushed, 10)
      }), 120_000)
  }
})
