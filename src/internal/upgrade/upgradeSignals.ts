/**
 * Signals that ask for an upgrade: of this process, or of another that has heard them too.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { UpgradeError } from "../../TableflipError.ts"
import { logInfo } from "../logging.ts"
import type { System } from "../system/env.ts"
import * as terminal from "../terminal.ts"
import type { failures } from "./log.ts"
import type { Machine } from "./machine.ts"

/** A signal that is for another process comes to every process of a terminal's group. */
export const leaveToOthers = Effect.fnUntraced(
  function*(env: System, signal: NodeJS.Signals, say: Effect.Effect<void> = Effect.void) {
    const deliveries = yield* env.signals(signal)
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(Queue.take(deliveries), say))))
  }
)

const unlessHungUp = (hasHungUp: Effect.Effect<boolean>, { stop, upgrade }: Machine) =>
  Effect.if(hasHungUp, {
    onTrue: () => Effect.zipRight(logInfo("SIGHUP: the terminal is gone; stopping"), stop),
    onFalse: () => upgrade
  })

/** Each delivery asks on its own, so that one which comes during an upgrade is refused and not kept for later. */
const upgradeOn = Effect.fnUntraced(function*(
  env: System,
  signal: NodeJS.Signals,
  logFailed: ReturnType<typeof failures>,
  upgrade: Effect.Effect<unknown, UpgradeError>
) {
  const deliveries = yield* env.signals(signal)
  const scope = yield* Effect.scope
  yield* Queue.take(deliveries).pipe(
    Effect.zipRight(Effect.forkIn(
      Effect.catchAll(upgrade, (error) => logFailed(`No upgrade on ${signal}`, error)),
      scope
    )),
    Effect.forever,
    Effect.interruptible,
    Effect.forkScoped
  )
})

/** Has each of the signals upgrade this process. */
export const listen = Effect.fnUntraced(function*(
  env: System,
  signals: ReadonlyArray<NodeJS.Signals>,
  machine: Machine,
  logFailed: ReturnType<typeof failures>
) {
  yield* Effect.forEach(signals, (signal) =>
    Effect.flatMap(
      signal === "SIGHUP"
        ? Effect.map(terminal.watch(env), ({ hasHungUp }) => unlessHungUp(hasHungUp, machine))
        : Effect.succeed(machine.upgrade),
      (upgrade) => upgradeOn(env, signal, logFailed, upgrade)
    ))
})
