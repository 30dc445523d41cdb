import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { counters } from "../../src/internal/metrics.ts"
import { make } from "../../src/internal/upgrade/measure.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { UpgraderEvent } from "../../src/UpgraderEvent.ts"
import type { Seen } from "../kit/spans.ts"
import { traced } from "../kit/spans.ts"

const upgrades = Effect.map(counters, (all) =>
  new Map(
    all.filter(({ name }) => name === "tableflip.upgrades").map(({ tags, value }) => [
      tags["error.type"] ?? tags["outcome"],
      Number(value)
    ])
  ))

const connections = Effect.map(counters, (all) =>
  new Map(
    all.filter(({ name }) => name === "tableflip.drain.connections").map(({ tags, value }) => [
      tags["ending"],
      Number(value)
    ])
  ))

const refused = Effect.map(
  counters,
  (all) => all.flatMap(({ name, value }) => name === "tableflip.drain.refused" ? Number(value) : []).at(0) ?? 0
)

const noServer = {
  address: "",
  idle: 0,
  fresh: 0,
  inFlight: 0,
  opaque: 0,
  webSockets: 0,
  droppedRequests: 0,
  refused: 0,
  duration: Duration.zero
}

/** One upgrade that fails, one that does not, and the drain after it. */
const life = Effect.gen(function*() {
  const old = yield* Upgrader.Upgrader
  const { nextChild } = yield* TestEnv
  yield* old.ready
  const failing = yield* Effect.fork(old.upgrade)
  yield* (yield* nextChild).exit(1)
  yield* Effect.exit(Fiber.join(failing))
  const upgrade = yield* Effect.fork(old.upgrade)
  const child = yield* nextChild
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(Upgrader.layerWithoutEnv().pipe(Layer.provide(child.layer)), scope)
  yield* Effect.provide(Effect.flatMap(Upgrader.Upgrader, ({ ready }) => ready), context)
  yield* Fiber.join(upgrade)
  yield* old.drain
  yield* Scope.close(scope, Exit.void)
})

const machine = Upgrader.layerWithoutEnv().pipe(Layer.provideMerge(TestEnv.layer))

describe.sequential("what is measured", () => {
  it.scoped("upgrades by how they have ended, each once", () =>
    Effect.gen(function*() {
      const before = yield* upgrades
      yield* life
      const after = yield* upgrades
      const more = ["ChildExitedError", "upgraded"].map((tag) => (after.get(tag) ?? 0) - (before.get(tag) ?? 0))
      assert.deepStrictEqual(more, [1, 1])
    }).pipe(Effect.provide(machine)))

  it.scoped("connections of a drain by each of their ends, of which the report has the sum", () =>
    Effect.gen(function*() {
      const server = {
        ...noServer,
        open: 15,
        finished: 1,
        sentAway: 2,
        handedOver: 3,
        timedOut: 4,
        forced: 5,
        refused: 6
      }
      const measure = yield* make(1)
      const report = { servers: [server], duration: Duration.seconds(1) }
      const before = yield* connections
      const refusedBefore = yield* refused
      yield* measure(UpgraderEvent.Drained({ generation: 1, report }))
      const after = yield* connections
      const more = Object.fromEntries([...after].map(([ending, count]) => [ending, count - (before.get(ending) ?? 0)]))
      assert.deepStrictEqual(more, { finished: 1, sentAway: 2, handedOver: 3, timedOut: 4, forced: 5 })
      assert.strictEqual((yield* refused) - refusedBefore, 6)
    }))

  it.scoped("one trace covers an upgrade in both processes", () =>
    Effect.suspend(() => {
      const seen: Array<Seen> = []
      return Effect.gen(function*() {
        yield* Effect.provide(life, machine)
        const named = (name: string) => seen.filter((span) => span.name === name)
        const [failed, upgraded] = named("tableflip.upgrade")
        assert.isTrue(failed?.exit !== undefined && Exit.isFailure(failed.exit))
        assert.isTrue(upgraded?.exit !== undefined && Exit.isSuccess(upgraded.exit))
        assert.deepStrictEqual(upgraded?.attributes.get("tableflip.generation"), 1)
        for (const part of ["spawn", "wait_ready", "probation"]) {
          const [span] = named(`tableflip.upgrade.${part}`).slice(-1)
          assert.strictEqual(Option.getOrThrow(span!.parent).spanId, upgraded?.spanId)
        }
        const [first, second] = named("tableflip.start")
        assert.isTrue(Option.isNone(first!.parent))
        assert.strictEqual(Option.getOrThrow(second!.parent).spanId, upgraded?.spanId)
        assert.strictEqual(second?.traceId, upgraded?.traceId)
        assert.isTrue(second?.exit !== undefined && Exit.isSuccess(second.exit))
        assert.strictEqual(named("tableflip.drain")[0]?.attributes.get("tableflip.reason"), "Upgraded")
      }).pipe(traced(seen))
    }))
})
