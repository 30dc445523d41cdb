import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"

describe.runIf(isLinux)("a process that has handed over", () => {
  it.scopedLive("ends even if the app has left something open, and says what", () =>
    Effect.gen(function*() {
      const handle = yield* start(fixture("leaky.mjs"), { app: { upgrader: { exitTimeout: "300 millis" } } })
      const first = yield* handle.up(1)
      yield* signal(first.pid, "SIGHUP")
      const second = yield* handle.up(2)
      yield* handle.waitFor(new RegExp(`^LOG ${first.pid} WARN .*does not end by itself.*Timeout`))
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      yield* onlyAlive(handle, [second.pid])
    }))
})
