/**
 * Everything that can go wrong in a pool of processes, as tagged errors.
 *
 * @since 3.0.0
 * @module
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as ExitStatus from "./ExitStatus.ts"
import type { ChildExitedError, ProtocolError, SpawnError } from "./TableflipError.ts"

/**
 * A process of a pool was not ready in time and has been ended.
 *
 * @since 3.0.0
 * @category errors
 */
export class ReadyTimeoutError extends Data.TaggedError("ReadyTimeoutError")<{
  readonly pid: number
  readonly timeout: Duration.Duration
  /** What would have shown that it is ready. */
  readonly waitedFor?: string | undefined
}> {
  override get message(): string {
    return `Process ${this.pid} was not ready within ${Duration.format(this.timeout)} and was ended; ` +
      (this.waitedFor === undefined ? "" : `what was waited for is ${this.waitedFor}; `) +
      "if it needs longer to start, raise ready.timeout"
  }
}

/**
 * A file of variables for a command could not be read, or has a line that is not understood.
 *
 * @since 3.0.0
 * @category errors
 */
export class EnvironmentFileError extends Data.TaggedError("EnvironmentFileError")<{
  readonly path: string
  /** The line that is not understood; undefined if there was nothing to read. */
  readonly line?: number | undefined
  /** What is wrong with the line, or what the system says. */
  readonly cause: unknown
}> {
  override get message(): string {
    if (this.line !== undefined) {
      return `Line ${this.line} of the environment file ${this.path} ${String(this.cause)}`
    }
    return `Could not read the environment file ${this.path}: ${
      this.cause instanceof Error ? this.cause.message : String(this.cause)
    }`
  }
}

/**
 * Why a process of a pool did not come up.
 *
 * @since 3.0.0
 * @category errors
 */
export type StartFailure = EnvironmentFileError | SpawnError | ChildExitedError | ProtocolError | ReadyTimeoutError

/**
 * A process of a pool did not come up, and nothing is left of it.
 *
 * @since 3.0.0
 * @category errors
 */
export class ProcessStartError extends Data.TaggedError("ProcessStartError")<{
  /** `worker 0`, or `process metrics` for an extra one. */
  readonly process: string
  readonly cause: StartFailure
}> {
  override get message(): string {
    return `The ${this.process} did not come up. ${this.cause.message}`
  }
}

/**
 * A replacement has stopped because a new process did not come up. What had not been replaced by then serves on, unless it
 * had been stopped first.
 *
 * @since 3.0.0
 * @category errors
 */
export class ReplaceError extends Data.TaggedError("ReplaceError")<{
  /** How many processes are new, and stay. */
  readonly replaced: number
  /** How many are still the old ones. */
  readonly kept: number
  /** How many had been stopped first, as `stopFirst` asks, and lack the new one; undefined if none. */
  readonly stopped?: number | undefined
  /** Whether those are started again, as the restart policy says. */
  readonly startedAgain?: boolean | undefined
  readonly cause: ProcessStartError
}> {
  override get message(): string {
    const counts = this.stopped === undefined
      ? `Replaced ${this.replaced} process(es) and kept ${this.kept}`
      : `Replaced ${this.replaced} process(es), kept ${this.kept}, and had stopped ${this.stopped} first, which ` +
        `${this.stopped === 1 ? "is" : "are"}${this.startedAgain === true ? "" : " not"} started again`
    return `${counts}. ${this.cause.message}`
  }
}

/**
 * A process of a pool has ended so often that its schedule does not start it again.
 *
 * @since 3.0.0
 * @category errors
 */
export class RestartsExhaustedError extends Data.TaggedError("RestartsExhaustedError")<{
  readonly process: string
  readonly restarts: number
  readonly status: ExitStatus.ExitStatus
}> {
  override get message(): string {
    return `The ${this.process} ${ExitStatus.describe(this.status)} and is not started again: ` +
      `the restart schedule is exhausted after ${this.restarts} restart(s)`
  }
}

/**
 * A process has failed and is not to be started again.
 *
 * @since 3.0.0
 * @category errors
 */
export class ProcessEndedError extends Data.TaggedError("ProcessEndedError")<{
  readonly process: string
  readonly status: ExitStatus.ExitStatus
}> {
  override get message(): string {
    return `The ${this.process} ${ExitStatus.describe(this.status)}, and is not to be started again`
  }
}

/**
 * A value of the main context could not be passed to a worker.
 *
 * @since 3.0.0
 * @category errors
 */
export class MainContextError extends Data.TaggedError("MainContextError")<{
  /** `encode` in the primary, `decode` in the worker. */
  readonly direction: "encode" | "decode"
  /** The key of its tag. */
  readonly value: string
  /** The path of the field that is wrong, with dots; empty if it is the whole value. */
  readonly field: string
  readonly detail: string
}> {
  override get message(): string {
    return `The value ${this.value} of the main context could not be ${this.direction}d` +
      `${this.field === "" ? "" : `, because of its field ${this.field}`}: ${this.detail}`
  }
}

/**
 * Why a pool cannot go on.
 *
 * @since 3.0.0
 * @category errors
 */
export type PoolError = ProcessStartError | RestartsExhaustedError | ProcessEndedError
