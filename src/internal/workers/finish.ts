/**
 * The end of a primary: its workers have ended, and whoever is impatient is heard.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type { FdName } from "../../Address.ts"
import type { Upgrader } from "../../Upgrader.ts"
import type { ExitReason } from "../../UpgraderEvent.ts"
import type { Line } from "../handOver/line.ts"
import { logWarning } from "../logging.ts"
import type { Pool } from "../pool/pool.ts"
import type { Why } from "../pool/retiring.ts"
import type { Member } from "../pool/slot.ts"
import { drain } from "../seam.ts"
import { samePress } from "../signals.ts"
import type * as stopSignals from "../signals.ts"
import type { System } from "../system/env.ts"
import { Word } from "../wire/control.ts"
import * as fdName from "../wire/fdName.ts"

/** Nothing is left of the pool when this completes. */
export const finish = Effect.fnUntraced(function*(
  env: System,
  { close, keptListeners, lineTo, signals, unclaimedBy, upgrader, workers }: {
    readonly upgrader: Upgrader["Type"]
    readonly workers: Pool
    readonly signals: stopSignals.StopSignals
    /** On which connections go to the workers of a newer primary. */
    readonly lineTo: (reason: ExitReason) => Option.Option<Line>
    /** The listeners that the successor does not accept from, although it has them. */
    readonly unclaimedBy: (pid: number) => Effect.Effect<ReadonlyArray<string>>
    /** The listeners that are there for others when this process has been told to stop. */
    readonly keptListeners: Effect.Effect<ReadonlyArray<FdName>>
    readonly close: (isOver: (name: FdName) => boolean) => Effect.Effect<void>
  }
) {
  yield* upgrader.stop
  const reason = yield* upgrader.exit
  const signal = Option.getOrElse(yield* signals.seen, () => "SIGTERM" as const)
  const unclaimed = reason._tag === "Upgraded" ? yield* unclaimedBy(reason.pid) : []
  const kept = (yield* keptListeners).map(fdName.toText)
  const line = lineTo(reason)
  const why: Why = ({ member }) =>
    reason._tag === "Upgraded"
      ? Word.Replaced({ pid: reason.pid, generation: reason.generation, ...takesFrom(member), ...notClaimed })
      : Word.Stopped({ signal, isLast: true, kept, ...takesFrom(member) })
  const notClaimed = unclaimed.length === 0 ? {} : { unclaimed }
  const takesFrom = (member: Member) => member.line?.leaveTo(Option.toArray(line)) === true ? { takes: true } : {}
  // Otherwise whoever comes when the workers have closed the sockets is let in by the system, and reset at the end.
  yield* close((name) => reason._tag === "Stopped" || unclaimed.includes(fdName.toText(name)))
  yield* Effect.forEach(["SIGTERM", "SIGINT"] as const, (again) => hasten(env, workers, again), { discard: true })
  const [{ killed }] = yield* Effect.all([workers.stop(why), upgrader.drain], { concurrency: "unbounded" })
  if (killed > 0) yield* logWarning(`${killed} process(es) had to be killed`)
}, Effect.scoped)

/** Who tells the primary to stop once more, means the workers too. */
const hasten = Effect.fnUntraced(function*(env: System, workers: Pool, signal: NodeJS.Signals) {
  const deliveries = yield* env.signals(signal)
  yield* Effect.sleep(samePress).pipe(
    Effect.zipRight(drain(deliveries)),
    Effect.zipRight(Effect.forever(Effect.zipRight(Queue.take(deliveries), workers.hasten(signal)))),
    Effect.interruptible,
    Effect.forkScoped
  )
})
