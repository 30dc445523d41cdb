/**
 * Connections of a command's clients, which never connect again, through reloads of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { CrowdOptions } from "../kit/keepers.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { signal } from "../kit/processes.ts"
import { ready, run, soon } from "../kit/tableflip.ts"
import { reload, reportOf } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"

const program = [process.execPath, fixture("keeping.mjs")]

const startKeeping = (
  command: ReadonlyArray<string> = program,
  behaviour: object = {},
  options: ReadonlyArray<string> = []
) =>
  Effect.gen(function*() {
    const target = { host: "127.0.0.1", port: yield* freePort }
    const app = yield* run({
      options: ["--listen", `${target.host}:${target.port}`, ...options],
      command,
      app: { listen: target, server: { keepAliveTimeout: 60_000 }, ...behaviour }
    })
    const first = yield* app.up(1)
    yield* ready(app, 1)
    return { app, first, target }
  })

const crowd = (options: CrowdOptions) =>
  Effect.acquireRelease(Effect.promise(() => keepers.crowd(options)), (crowd) => Effect.promise(crowd.end))

const connect = (target: CrowdOptions["target"]) =>
  Effect.acquireRelease(Effect.promise(() => keepers.connect(target)), (keeper) => Effect.sync(keeper.end))

describe.runIf(isLinux)("connections of clients of a command that never connect again", () => {
  it.scopedLive(
    "live through five reloads of a program on this library, which sees no channel",
    () =>
      Effect.gen(function*() {
        const { app, first, target } = yield* startKeeping()
        const busy = yield* crowd({ target, count: 32, pause: 0 })
        const idle = yield* crowd({ target, count: 200, pause: 2_000 })
        let last = first
        for (let count = 0; count < 5; count++) {
          yield* eventually("clients to be answered here", () => (busy.generations.get(last.generation) ?? 0) > 200)
          const { next, report } = yield* reload(app, last)
          // One that this process had not accepted yet was accepted by the next.
          assert.isAbove(report.open, 32)
          assert.strictEqual(report.handedOver, report.open)
          last = next
        }
        yield* Effect.promise(() => Promise.all([busy.rest(), idle.rest()]))
        for (const clients of [busy, idle]) {
          assert.deepStrictEqual(clients.failures, [])
          assert.deepStrictEqual([clients.closed(), clients.toldToGo()], [0, 0])
        }
        for (const line of app.lines()) if (line.startsWith("CHANNEL")) assert.match(line, / (undefined,){4}undefined$/)
      }),
    180_000
  )

  it.scopedLive("are drained with handOver: false, and when nobody takes their place", () =>
    Effect.gen(function*() {
      const { app, first, target } = yield* startKeeping(program, { upgrader: { handOver: false } })
      const client = yield* connect(target)
      yield* Effect.promise(() => client.ask())
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`), "60 seconds")
      assert.strictEqual((yield* Effect.promise(() => client.ask())).pid, first.pid)
      assert.isTrue(client.wasToldToGo())

      const other = yield* startKeeping()
      const last = yield* connect(other.target)
      yield* Effect.promise(() => last.ask())
      yield* signal(other.app.pid, "SIGTERM")
      yield* other.app.waitFor(new RegExp(`^EVENT ${other.first.pid} Draining`), "60 seconds")
      assert.strictEqual((yield* Effect.promise(() => last.ask())).pid, other.first.pid)
      assert.isTrue(last.wasToldToGo())
    }), 120_000)

  it.scopedLive(
    "are served on, but for those it has taken, when the newer process is killed as they go",
    () =>
      Effect.gen(function*() {
        const { app, first, target } = yield* startKeeping(program, { killedAfter: 50 })
        const clients = yield* Effect.replicateEffect(connect(target), 200)
        for (const client of clients) yield* Effect.promise(() => client.ask())
        yield* signal(app.pid, "SIGHUP")
        const { pid } = yield* app.up(2)
        yield* eventually("it to be gone", () => !isAlive(pid))
        const answers = yield* Effect.promise(() =>
          Promise.all(clients.map((client) => client.ask({ body: "body" }).catch(() => undefined)))
        )
        for (const client of clients) client.end()
        const { handedOver } = yield* reportOf(app, first.pid)
        assert.isAbove(handedOver, 30)
        assert.strictEqual(answers.filter((answer) => answer?.pid === first.pid).length, 200 - handedOver)
      }),
    120_000
  )

  it.scopedLive(
    "are all served by one of the two when tableflip leaves as they go",
    () =>
      Effect.gen(function*() {
        for (let count = 0; count < 8; count++) {
          yield* Effect.scoped(Effect.gen(function*() {
            const parentEndsAfter = 1 + Math.floor(Math.random() * 120)
            const { app, first, target } = yield* startKeeping(program, { parentEndsAfter }, ["--leave-running"])
            const clients = yield* Effect.replicateEffect(connect(target), 150)
            for (const client of clients) yield* Effect.promise(() => client.ask())
            yield* signal(app.pid, "SIGHUP")
            const second = yield* app.up(2)
            yield* app.exit
            const answers = yield* Effect.promise(() =>
              Promise.all(clients.map((client) => client.ask({ body: "body" }).catch(() => undefined)))
            )
            const byPid = (pid: number | undefined) => answers.filter((answer) => answer?.pid === pid).length
            assert.strictEqual(byPid(undefined), 0, `when ${parentEndsAfter} had come`)
            assert.strictEqual(byPid(first.pid) + byPid(second.pid), 150)
            assert.isAtLeast(byPid(second.pid), parentEndsAfter)
          }))
        }
      }),
    120_000
  )

  it.scopedLive(
    "are drained when the command starts several programs, which have one channel",
    () =>
      Effect.gen(function*() {
        const [node, script] = program
        const { app, first, target } = yield* startKeeping(["sh", "-c", `"${node}" "${script}" & wait`])
        const client = yield* connect(target)
        yield* Effect.promise(() => client.ask())
        yield* signal(app.pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`), "60 seconds")
        assert.strictEqual((yield* Effect.promise(() => client.ask())).pid, first.pid)
        assert.strictEqual((yield* reportOf(app, first.pid)).handedOver, 0)
      }),
    60_000
  )
})

describe.runIf(isLinux)("a command of another kind", () => {
  it.scopedLive("finds no channel that is not its own", () =>
    Effect.gen(function*() {
      const seen =
        `console.log("SEEN", typeof process.send, Object.keys(process.env).filter((name) => /^NODE_/.test(name))
        .join()); setTimeout(() => {}, 60_000)`
      const app = yield* run({
        options: [...soon, "--listen", `127.0.0.1:${yield* freePort}`],
        command: [process.execPath, "-e", seen],
        env: { NODE_ENV: "test" }
      })
      const [, keys] = yield* app.waitFor(/^SEEN undefined (.*)$/)
      assert.notInclude(keys, "CHANNEL")
    }))
})
