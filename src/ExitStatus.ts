/**
 * How a process ended.
 *
 * @since 3.0.0
 * @module
 */
import * as Data from "effect/Data"
import { constants } from "node:os"

/**
 * How a process ended: by itself, with a code, or by a signal.
 *
 * @since 3.0.0
 * @category models
 */
export type ExitStatus = Data.TaggedEnum<{
  Exited: { readonly code: number }
  Killed: { readonly signal: NodeJS.Signals }
}>

const constructors = Data.taggedEnum<ExitStatus>()

/**
 * The process ended by itself, with this exit code.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Exited = constructors.Exited

/**
 * The process was ended by this signal.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Killed = constructors.Killed

/**
 * Handles both cases.
 *
 * @since 3.0.0
 * @category combinators
 */
export const match = constructors.$match

/**
 * The status in words: `exited with code 1`, `was killed by SIGKILL`.
 *
 * @since 3.0.0
 * @category combinators
 */
export const describe: (status: ExitStatus) => string = match({
  Exited: ({ code }) => `exited with code ${code}`,
  Killed: ({ signal }) => `was killed by ${signal}`
})

/**
 * The exit code that tells the same, as shells do: 128 and the number of the signal for a process that was killed.
 *
 * @since 3.0.0
 * @category combinators
 */
export const toExitCode: (status: ExitStatus) => number = match({
  Exited: ({ code }) => code,
  Killed: ({ signal }) => 128 + constants.signals[signal]
})
