/** The cluster of the examples, each runner of which is upgraded again and again while clients count. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Answer } from "../kit/cluster.ts"
import { withCluster, wrongIn } from "../kit/cluster.ts"
import { isLinux } from "../kit/proc.ts"

const upgrades = 20

const nothing = { failed: [], twice: [], lost: [], alternating: [], together: [] }

const answer = (name: string, count: number, pid: number): Answer => ({ name, count, pid, at: 0, took: 0 })

describe.runIf(isLinux)("examples/cluster.ts", () => {
  it("is told by its counters when they were wrong", () => {
    const right = [answer("a", 1, 1), answer("a", 2, 1), answer("a", 3, 2), answer("b", 1, 2)]
    const lines = ["a has come to process 1 at 0", "a has left process 1 at 2", "a has come to process 2 at 2"]
    const wrong = (more: ReadonlyArray<Answer>, printed = lines) =>
      wrongIn({ answers: [...right, ...more], failed: [], printed: [printed] })
    assert.deepStrictEqual(wrong([]), nothing)
    assert.deepStrictEqual(wrong([answer("b", 3, 2)]), { ...nothing, twice: ["b 2"] })
    assert.deepStrictEqual(wrong([answer("a", 3, 2)]), { ...nothing, lost: ["a: 1 of 4"] })
    assert.deepStrictEqual(wrong([answer("a", 4, 1)]), { ...nothing, alternating: ["a: 1 2 1"] })
    assert.deepStrictEqual(wrong([], [lines[0]!, lines[2]!, lines[1]!]), { ...nothing, together: ["a in 1 and 2"] })
  })

  it.scopedLive("loses no count and makes none twice in twenty upgrades", () =>
    Effect.gen(function*() {
      const [pids, wrong] = yield* Effect.promise(() =>
        withCluster(async (cluster) => {
          for (let count = 0; count < upgrades; count++) {
            await cluster.upgrade(count % 2)
            if (count === upgrades / 2) await cluster.upgradeFront()
            await cluster.answered(30)
          }
          return new Set(cluster.answers.map(({ pid }) => pid))
        })
      )
      assert.deepStrictEqual(wrong, nothing)
      // Every process has had a part in it.
      assert.strictEqual(pids.size, 2 + upgrades)
    }), 600_000)
})
