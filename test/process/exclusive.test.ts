/** What runs in one process at a time. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ask } from "../kit/clients.ts"
import { fixture } from "../kit/paths.ts"
import { isAlive } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { until } from "../kit/waiting.ts"

const begun = (app: Handle) => app.lines().flatMap((line) => /^BEGIN (\d+)/.exec(line)?.[1] ?? []).map(Number)

const newest = (app: Handle) => begun(app).at(-1)!

/** Nobody begins while another runs, or is alive and has not ended. */
const isAlternating = (app: Handle) =>
  assert.deepStrictEqual(
    app.lines().filter((line) => /^(BEGIN|END) /.test(line)).map((line) => line.split(" ")[0]).filter((word, index) =>
      word !== (index % 2 === 0 ? "BEGIN" : "END")
    ),
    [],
    app.dump()
  )

const hang = (port: number) => Effect.forkScoped(Effect.exit(ask(port, { path: "/hang" })))

describe("exclusive", () => {
  it.scopedLive("goes to the new process while the old one still drains", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("exclusive.mjs"), { app: { windDown: "100 millis" } })
      let last = yield* app.up(1)
      yield* app.waitFor(new RegExp(`^BEGIN ${last.pid}`))
      for (let generation = 2; generation <= 5; generation++) {
        yield* hang(last.port)
        yield* app.waitFor(new RegExp(`^HANGING ${last.pid}`))
        yield* signal(last.pid, "SIGHUP")
        const next = yield* app.up(generation)
        yield* app.waitFor(new RegExp(`^BEGIN ${next.pid}`))
        assert.isTrue(isAlive(last.pid), "it still has a request")
        yield* signal(last.pid, "SIGUSR2")
        yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
        last = next
      }
      isAlternating(app)
    }), 60_000)

  it.scopedLive("goes to the new process when the old one is killed", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("exclusive.mjs"), { app: { windDown: "1 hour" } })
      const old = yield* app.up(1)
      yield* app.waitFor(new RegExp(`^BEGIN ${old.pid}`))
      yield* signal(old.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^EVENT ${old.pid} Drained`))
      assert.deepStrictEqual(begun(app), [old.pid])
      yield* signal(old.pid, "SIGKILL")
      yield* app.waitFor(new RegExp(`^BEGIN ${next.pid}`))
    }), 60_000)

  it.scopedLive(
    "is one worker's of a pool, through replacements, kills and an upgrade of the primary",
    () =>
      Effect.gen(function*() {
        const app = yield* start(fixture("exclusive.mjs"), { app: { pool: {} } })
        yield* app.waitForCount(/^UP /, 3)
        yield* app.waitForCount(/^BEGIN /, 1)

        const killed = newest(app)
        yield* signal(killed, "SIGKILL")
        yield* app.waitForCount(/^BEGIN /, 2)
        assert.notStrictEqual(newest(app), killed)
        yield* app.waitForCount(/^UP /, 4)

        yield* signal(app.pid, "SIGHUP")
        yield* app.waitForCount(/^UP /, 7)
        yield* until("the end of every older worker", () => app.alive().length === 4)
        yield* until("a worker of the new pool", () => isAlive(newest(app)))
        assert.strictEqual(
          app.count(/^BEGIN /) - app.count(/^END /),
          2,
          "one was killed, and one runs; all others have ended"
        )
        isAlternating({ ...app, lines: () => app.lines().filter((line) => !line.includes(`BEGIN ${killed}`)) })
      }),
    60_000
  )
})
