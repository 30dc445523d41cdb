import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { errorJson, toJson } from "../../src/internal/controlSocket/json.ts"
import { ProcessStartError, ReplaceError } from "../../src/PoolError.ts"
import { ChildExitedError, UpgradeTimeoutError } from "../../src/TableflipError.ts"
import { UpgraderEvent } from "../../src/UpgraderEvent.ts"

describe("what a control socket tells, as JSON", () => {
  it("has durations in milliseconds, and leaves out what is undefined", () => {
    const error = new UpgradeTimeoutError({ pid: 7, timeout: Duration.seconds(2) })
    assert.deepStrictEqual(toJson(UpgraderEvent.UpgradeFailed({ error, generation: 2 })), {
      _tag: "UpgradeFailed",
      generation: 2,
      error: { _tag: "UpgradeTimeoutError", message: error.message, pid: 7, timeout: 2_000 }
    })
    assert.deepStrictEqual(toJson({ list: [Duration.zero, { gone: undefined }], none: null }), {
      list: [0, {}],
      none: null
    })
  })

  it("has the causes of an error with their tags and fields", () => {
    const status = ExitStatus.Exited({ code: 7 })
    const ended = new ChildExitedError({ pid: 7, status, ready: false })
    const cause = new ProcessStartError({ process: "worker 0", cause: ended })
    const json: any = errorJson(new ReplaceError({ replaced: 0, kept: 1, cause }))
    assert.deepInclude(json, { _tag: "ReplaceError", replaced: 0, kept: 1 })
    assert.deepInclude(json.cause, { _tag: "ProcessStartError", process: "worker 0" })
    assert.deepInclude(json.cause.cause, { _tag: "ChildExitedError", pid: 7, message: ended.message })
    assert.deepStrictEqual(json.cause.cause.status, { _tag: "Exited", code: 7 })
  })

  it("ends where something refers to itself", () => {
    const circle: Record<string, unknown> = {}
    circle["self"] = circle
    assert.isAbove(JSON.stringify(toJson(circle)).length, 0)
  })
})
