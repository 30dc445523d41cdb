/**
 * What runners of a cluster do by themselves: workflows, cron jobs and singletons, while the runners are upgraded in place.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isLinux } from "../kit/proc.ts"
import { cluster, results, served, tookOver, upgrade } from "../kit/runners.ts"

describe.runIf(isLinux)("what a runner of a cluster does by itself", () => {
  it.scopedLive("is done once, in one process at a time", () =>
    Effect.gen(function*() {
      const all = yield* cluster({ transport: "http", jobs: true }, "starter")
      for (const runner of [...all.runners, ...all.runners]) {
        yield* upgrade(runner)
        yield* tookOver(runner)
        yield* served(all.client)
      }
      const { activities, asked, beating, beats, ...wrong } = yield* results(all)
      assert.deepStrictEqual(wrong, { failed: [], twice: [], missing: [], together: [], alternating: 0 })
      assert.strictEqual(activities, 3 * asked)
      assert.isAbove(beats, 3)
      assert.isAbove(beating, 1)
    }), 300_000)
})
