/**
 * Processes that were started with an inspector, each of which needs a port for it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"

const listening = /^Debugger listening on ws:\/\/127\.0\.0\.1:(\d+)\//

const portsOf = (program: Handle) => program.lines().flatMap((line) => listening.exec(line)?.[1] ?? []).map(Number)

/** A pool of two that is upgraded once: six processes. */
const upgraded = (how: Parameters<typeof start>[1]) =>
  Effect.gen(function*() {
    const program = yield* start(fixture("workers.mjs"), { ...how, app: {} })
    const { pid } = yield* program.up(1)
    yield* signal(pid, "SIGHUP")
    yield* program.up(2)
    yield* program.waitForCount(listening, 6)
    assert.strictEqual(program.count(/Starting inspector .* failed/), 0, program.dump())
    return portsOf(program)
  })

describe("--inspect", () => {
  it.scopedLive("gives each process of a pool and of its upgrade a port of its own", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const ports = yield* upgraded({ nodeFlags: [`--inspect=127.0.0.1:${port}`] })
      assert.sameMembers([...ports], Array.from({ length: 6 }, (_, index) => port + index))
    }))

  it.scopedLive("in NODE_OPTIONS does so too", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const ports = yield* upgraded({ env: { NODE_OPTIONS: `--inspect=127.0.0.1:${port}` } })
      assert.sameMembers([...ports], Array.from({ length: 6 }, (_, index) => port + index))
    }))

  it.scopedLive("with port 0 has the system choose for each", () =>
    Effect.gen(function*() {
      const ports = yield* upgraded({ nodeFlags: ["--inspect=127.0.0.1:0"] })
      assert.strictEqual(new Set(ports).size, 6)
    }))
})
