import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as logger from "../../src/internal/cli/logger.ts"
import { handsOverShards } from "../../src/internal/upgrade/clusterRunner.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"

/** What is warned of when a process is upgraded. */
const warnings = (begin: (upgrader: Upgrader.Upgrader["Type"]) => Effect.Effect<void>) => {
  const lines: Array<string> = []
  return Effect.gen(function*() {
    const upgrader = yield* Upgrader.Upgrader
    const { nextChild } = yield* TestEnv
    yield* begin(upgrader)
    yield* upgrader.ready
    const upgrade = yield* Effect.fork(upgrader.upgrade)
    const child = yield* nextChild
    yield* child.notifyReady
    yield* upgrade
    yield* upgrader.exit
  }).pipe(
    Effect.provide(Upgrader.layerWithoutEnv().pipe(Layer.provideMerge(TestEnv.layer))),
    Effect.scoped,
    Effect.provide(logger.layer("Info", ({ level, message }) => {
      if (level === "WARN") lines.push(String(message))
    })),
    Effect.as(lines)
  )
}

const isARunner = Metric.update(Metric.gauge("effect_cluster_runners", { bigint: true }), BigInt(1))

describe("a runner of a cluster", () => {
  it.effect("is warned of when it is upgraded without the order in which shards are handed over", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* warnings(() => Effect.void), [])
      const [warning = "", ...more] = yield* warnings(() => isARunner)
      assert.include(warning, "ClusterHandOver")
      assert.isEmpty(more)
      assert.deepStrictEqual(
        yield* warnings((upgrader) => Effect.zipRight(isARunner, Effect.sync(() => handsOverShards(upgrader)))),
        []
      )
    }))
})
