/**
 * A process that is upgraded, and the pool of which it is the primary if it is one, as what a control socket controls.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { PoolEvent } from "../../PoolEvent.ts"
import type { Upgrader } from "../../Upgrader.ts"
import type { DrainReport, UpgraderEvent } from "../../UpgraderEvent.ts"
import type { Workers } from "../../Workers.ts"
import { forkApart, monotonicMillis } from "../seam.ts"
import { hear } from "./hear.ts"
import type { Journal } from "./journal.ts"
import { errorJson, timeJson, toJson } from "./json.ts"
import type { Identity, ProcessJson } from "./protocol.ts"
import * as recordOf from "./record.ts"
import { accepted, invalid, notSupported, ok, refusal, replyWith } from "./reply.ts"
import type { Target } from "./target.ts"

export interface Sources {
  readonly upgrader: Upgrader["Type"]
  readonly workers: Option.Option<Workers["Type"]>
  readonly journal: (by: () => Identity) => Journal
}

/** The servers together. */
const summary = ({ duration, servers }: DrainReport) => {
  const sum = (count: "open" | "finished" | "sentAway" | "handedOver" | "refused" | "timedOut" | "forced") =>
    servers.reduce((total, server) => total + server[count], 0)
  return {
    millis: Math.round(Duration.toMillis(duration)),
    open: sum("open"),
    finished: sum("finished"),
    sentAway: sum("sentAway"),
    handedOver: sum("handedOver"),
    refused: sum("refused"),
    timedOut: sum("timedOut"),
    forced: sum("forced")
  }
}

export const make: (sources: Sources) => Effect.Effect<
  { readonly target: Target; readonly journal: Journal },
  never,
  Scope.Scope
> = Effect.fnUntraced(function*({ journal: makeJournal, upgrader, workers }) {
  const { pid } = yield* upgrader.status
  const self: Identity = { pid, generation: upgrader.generation }
  const by = () => self
  const journal = makeJournal(by)
  const drained = yield* Deferred.make<DrainReport>()
  const poolStopped = yield* Deferred.make<{ readonly killed: number }>()
  const over = yield* Deferred.make<void>()
  let started = 0

  const pool = Option.match(workers, {
    onNone: () => Effect.succeed({}),
    onSome: ({ size, status }) =>
      Effect.zipWith(size, status, (size, all) => ({
        size,
        processes: all.map((each): ProcessJson => ({ ...each, since: timeJson(each.since) }))
      }))
  })
  const record = yield* recordOf.make(
    Effect.zipWith(upgrader.status, pool, ({ connections, olderDraining, pid, state }, pool) => ({
      kind: Option.isSome(workers) ? "pool" as const : "upgrader" as const,
      ...self,
      pid,
      state,
      olderDraining,
      ...Option.isSome(workers) ? {} : { connections },
      ...pool
    }))
  )
  if (upgrader.hasParent) yield* record.upgraded(self)

  const onUpgraderEvent = (event: UpgraderEvent): Effect.Effect<unknown> => {
    switch (event._tag) {
      case "UpgradeStarted":
        started = event.pid
        return Effect.void
      case "UpgradeFailed":
        return record.failed({ generation: event.generation, pid: started }, errorJson(event.error))
      case "Ready":
        return upgrader.hasParent ? record.upgraded(self) : Effect.void
      case "Drained":
        return Deferred.succeed(drained, event.report)
      default:
        return Effect.void
    }
  }

  const tell = (event: UpgraderEvent | PoolEvent) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) =>
        Effect.zipWith(record.look, upgrader.status, (_, { connections }) => {
          const more = event._tag === "Draining" ? { connections } : {}
          journal.tell({ ...toJson(event) as { readonly _tag: string }, ...more }, now)
        })
    )

  const handled = <A extends UpgraderEvent | PoolEvent>(handle: (event: A) => Effect.Effect<unknown>) => (event: A) =>
    Effect.zipRight(handle(event), tell(event))

  yield* record.look
  const rest = yield* hear(yield* upgrader.events, handled(onUpgraderEvent))
  const restOfPool = yield* Option.match(workers, {
    onNone: () => Effect.succeed(Effect.void),
    onSome: ({ events }) =>
      Effect.flatMap(events, (events) =>
        hear(
          events,
          handled((event) =>
            event._tag === "Stopped" ? Deferred.succeed(poolStopped, { killed: event.killed }) : Effect.void
          )
        ))
  })

  /** What the drain did, unless everything ends without one. */
  const report = Effect.raceFirst(
    Effect.zipWith(
      Deferred.await(drained),
      Option.isSome(workers) ? Deferred.await(poolStopped) : Effect.succeed({}),
      (report, pool) => ({ drained: { ...summary(report), ...pool } })
    ),
    Effect.as(Deferred.await(over), {})
  )

  const target: Target = {
    identity: by,
    status: record.status,
    reload: (wait, leave) =>
      Effect.flatMap(monotonicMillis, (begun) =>
        replyWith(
          // Who is told that the newer process has taken over, and asks once more, is answered by that one.
          Effect.flatMap(Effect.zipLeft(upgrader.upgrade, leave), (to) =>
            Effect.flatMap(monotonicMillis, (switched) => {
              const outcome = { outcome: "upgraded", ...to, from: self, millis: Math.round(switched - begun) }
              return wait === "switched"
                ? Effect.succeed(outcome)
                : Effect.map(report, (report) => ({ ...outcome, ...report }))
            })),
          by,
          ok
        )),
    stop: (wait) =>
      Effect.gen(function*() {
        const { state } = yield* upgrader.status
        if (state === "draining") {
          return refusal(409, {
            _tag: "AlreadyUpgradedError",
            message: "A newer process has taken over from this one, which is about to end; ask that"
          }, self)
        }
        yield* forkApart(upgrader.stop)
        if (wait !== "drained") return accepted({ outcome: "stopping", ...self })
        const reason = yield* upgrader.exit
        const { _tag, ...successor } = reason
        return ok({ outcome: _tag === "Stopped" ? "stopped" : "upgraded", ...self, ...successor, ...yield* report })
      }),
    scale: (size) =>
      Option.match(workers, {
        onNone: () => Effect.succeed(notSupported("This is one process and no pool, so that it has no size", self)),
        onSome: (pool) =>
          typeof size === "number"
            ? Effect.flatMap(
              pool.size,
              (from) => replyWith(pool.resize(size), by, () => ok({ outcome: "resized", from, to: size }))
            )
            : Effect.succeed(invalid(`The body must be {"size": N}`, self))
      }),
    replace: (index) =>
      Option.match(workers, {
        onNone: () => Effect.succeed(notSupported("This is one process and no pool; reload replaces it", self)),
        onSome: (pool) =>
          replyWith(
            index === undefined ? pool.replace : pool.replaceWorker(index),
            by,
            () => ok({ outcome: "replaced", ...index === undefined ? {} : { index } })
          )
      }),
    end: Effect.zipRight(Effect.zipRight(rest, restOfPool), Effect.asVoid(Deferred.succeed(over, void 0)))
  }
  return { target, journal }
})
