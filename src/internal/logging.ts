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

interface Failure {
  readonly _tag: string
  readonly message: string
}

/** What is behind it comes last; an error of the system is not ours. */
const chainOf = (error: Failure): ReadonlyArray<Failure> => {
  const { cause } = error as { readonly cause?: unknown }
  return [error, ...cause instanceof Error && "_tag" in cause ? chainOf(cause as Error & Failure) : []]
}

const picked = new Set(["process", "pid", "reason", "replaced", "kept"])

const ownFields = (error: Failure): Record<string, unknown> => {
  const { status } = error as { readonly status?: { readonly code?: number; readonly signal?: string } }
  return {
    ...Object.fromEntries(Object.entries(error).filter(([name]) => picked.has(name))),
    ...status?.code === undefined ? {} : { exitCode: status.code },
    ...status?.signal === undefined ? {} : { signal: status.signal }
  }
}

/** An error for those who count: its name, that of what is behind it, and which process has ended how. */
export const failureFields = (error: Failure): Readonly<Record<string, unknown>> => {
  const chain = chainOf(error)
  return {
    ...Object.assign({}, ...chain.map(ownFields)) as Record<string, unknown>,
    error: error._tag,
    ...chain.length > 1 ? { cause: chain.at(-1)?._tag } : {}
  }
}

/** Something has failed, in words and in fields. */
export const logFailure = (error: Failure, words = error.message): Effect.Effect<void> =>
  Effect.annotateLogs(logError(words), failureFields(error))

/** The same of what is tried again, or does no harm. */
export const warnOfFailure = (error: Failure, words = error.message): Effect.Effect<void> =>
  Effect.annotateLogs(logWarning(words), failureFields(error))
