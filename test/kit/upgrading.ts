/** One upgrade of a fixture, and what the drain of the older process has reported. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { ServerReport } from "../../src/Drain.ts"
import type { Handle } from "./processes.ts"
import { signal } from "./processes.ts"

/** Of a process with one server, whose sums must add up. */
export const reportOf = (app: Handle, pid: number): Effect.Effect<ServerReport> =>
  Effect.gen(function*() {
    const [, json] = yield* app.waitFor(new RegExp(`^EVENT ${pid} Drained (.*)`), "60 seconds")
    yield* app.waitFor(new RegExp(`^EXIT ${pid} 0`))
    const { report } = JSON.parse(json!) as { readonly report: { readonly servers: ReadonlyArray<ServerReport> } }
    const [server] = report.servers
    const { finished, forced, fresh, handedOver, idle, inFlight, opaque, open, sentAway, timedOut } = server!
    assert.strictEqual(open, idle + fresh + inFlight + opaque)
    assert.strictEqual(open, finished + sentAway + handedOver + timedOut + forced)
    return server!
  })

/** The process of the next generation, when it is alone, and the report of the older one. */
export const upgrade = (app: Handle, older: { readonly pid: number; readonly generation: number }) =>
  Effect.gen(function*() {
    yield* signal(older.pid, "SIGHUP")
    const next = yield* app.up(older.generation + 1)
    yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`), "60 seconds")
    return { next, report: yield* reportOf(app, older.pid) }
  })

/** One reload by the supervisor of a fixture. */
export const reload: typeof upgrade = (app, older) =>
  Effect.gen(function*() {
    yield* signal(app.pid, "SIGHUP")
    const next = yield* app.up(older.generation + 1)
    yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`), "60 seconds")
    return { next, report: yield* reportOf(app, older.pid) }
  })
