/**
 * What this package says, by the loggers of the app. One of those that throws (its disk is full, its connection is gone)
 * must not keep a worker from being started again, or a drain from its end.
 *
 * @internal
 */
import * as Effect from "effect/Effect"

type Log = (...message: ReadonlyArray<unknown>) => Effect.Effect<void>

const unfailing = (log: Log): Log => (...message) => Effect.catchAllCause(log(...message), () => Effect.void)

export const logDebug = unfailing(Effect.logDebug)
export const logInfo = unfailing(Effect.logInfo)
export const logWarning = unfailing(Effect.logWarning)
export const logError = unfailing(Effect.logError)
