import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { beforeEach, vi } from "vitest"
import * as ExitStatus from "../../src/ExitStatus.ts"
import * as log from "../../src/internal/cli/log.ts"
import { logFailure } from "../../src/internal/logging.ts"
import { ProcessStartError, ReadyTimeoutError, ReplaceError } from "../../src/PoolError.ts"
import { PoolEvent } from "../../src/PoolEvent.ts"
import { ChildExitedError, SpawnError } from "../../src/TableflipError.ts"

const written: Array<string> = vi.hoisted(() => [])

vi.mock(import("../../src/internal/node/writer.ts"), async (original) => ({
  ...await original(),
  to: () => ({
    write: async () => {},
    line: (text: string) => void written.push(text),
    writtenAt: () => 0,
    isBusy: () => false
  })
}))

const json = log.layer({ format: "json", quiet: false, verbosity: 0 })

const said = (effect: Effect.Effect<void>) =>
  Effect.map(Effect.provide(effect, json), () => JSON.parse(written[0]!) as Record<string, unknown>)

const notReplaced = (cause: ProcessStartError["cause"]) =>
  new ReplaceError({ replaced: 0, kept: 2, cause: new ProcessStartError({ process: "worker 1", cause }) })

const worker = { name: "worker", index: 1, pid: 201, generation: 4 }

describe.sequential("the log in JSON", () => {
  beforeEach(() => {
    written.length = 0
  })

  it.effect("has the name of the error of a failed replacement, what is behind it, and which process ended how", () =>
    Effect.gen(function*() {
      const error = notReplaced(
        new ChildExitedError({ pid: 7, status: ExitStatus.Exited({ code: 3 }), ready: false })
      )
      const { supervisor: _, time: __, ...line } = yield* said(
        log.event(PoolEvent.ReplaceFailed({ generation: 4, error }))
      )
      assert.deepStrictEqual(line, {
        level: "warn",
        message: "generation 4 has not come up, the older one goes on",
        event: "ReplaceFailed",
        generation: 4,
        error: "ReplaceError",
        cause: "ChildExitedError",
        process: "worker 1",
        pid: 7,
        exitCode: 3,
        replaced: 0,
        kept: 2,
        detail: error.message
      })
    }))

  it.effect("says of a program that is not there why it could not be started", () =>
    Effect.gen(function*() {
      const error = new ProcessStartError({
        process: "worker 1",
        cause: new SpawnError({ reason: "NotFound", command: "x", detail: "it is not there" })
      })
      const line = yield* said(log.event(PoolEvent.StartFailed({ name: "worker", index: 1, error })))
      assert.include(line, { error: "ProcessStartError", cause: "SpawnError", reason: "NotFound" })
    }))

  it.effect("advises in the words of the command line", () =>
    Effect.gen(function*() {
      const error = notReplaced(new ReadyTimeoutError({ pid: 7, timeout: Duration.seconds(2) }))
      const { detail } = yield* said(log.event(PoolEvent.ReplaceFailed({ generation: 4, error })))
      assert.include(String(detail), "--ready-timeout")
    }))

  it.effect("has how a process ended in words and in numbers", () =>
    Effect.gen(function*() {
      const exited = (status: ExitStatus.ExitStatus) =>
        said(log.event(PoolEvent.Exited({ ...worker, status, expected: false })))
      assert.include(yield* exited(ExitStatus.Exited({ code: 3 })), { status: "exited with code 3", exitCode: 3 })
      written.length = 0
      assert.include(yield* exited(ExitStatus.Killed({ signal: "SIGSEGV" })), { signal: "SIGSEGV" })
    }))

  it.effect("has the same fields where a failure is no event", () =>
    Effect.gen(function*() {
      const error = new ChildExitedError({ pid: 7, status: ExitStatus.Killed({ signal: "SIGBUS" }), ready: false })
      assert.include(yield* said(logFailure(error)), { error: "ChildExitedError", pid: 7, signal: "SIGBUS" })
    }))
})
