/**
 * Everything that can go wrong, as tagged errors. Each message says what happened, where, and what to do about it.
 *
 * @since 3.0.0
 * @module
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as ExitStatus from "./ExitStatus.ts"

/**
 * This process cannot be upgraded at all: the platform or the Node release lacks what it takes, or its end would be the end
 * of its successor, as that of process 1 in a container is.
 *
 * @since 3.0.0
 * @category errors
 */
export class NotSupportedError extends Data.TaggedError("NotSupportedError")<{
  readonly reason: string
}> {
  override get message(): string {
    return `Upgrades are not supported here: ${this.reason}`
  }
}

/**
 * An option has a value that cannot work.
 *
 * @since 3.0.0
 * @category errors
 */
export class InvalidOptionError extends Data.TaggedError("InvalidOptionError")<{
  readonly option: string
  readonly value: string
  readonly expected: string
}> {
  override get message(): string {
    return `The option ${this.option} is ${this.value}; it must be ${this.expected}`
  }
}

/**
 * A process has one upgrader, and this process has one already. `first` tells where that one was built.
 *
 * @since 3.0.0
 * @category errors
 */
export class UpgraderExistsError extends Data.TaggedError("UpgraderExistsError")<{
  readonly first: string
}> {
  override get message(): string {
    return `This process already has an upgrader, built ${this.first}. Bind the layer to one constant and provide it once`
  }
}

/**
 * An upgrade was asked for before this process called `ready`.
 *
 * @since 3.0.0
 * @category errors
 */
export class NotReadyError extends Data.TaggedError("NotReadyError")<{}> {
  override get message(): string {
    return "This process has not called ready yet; it can be upgraded after that"
  }
}

/**
 * An upgrade is already going on.
 *
 * @since 3.0.0
 * @category errors
 */
export class UpgradeInProgressError extends Data.TaggedError("UpgradeInProgressError")<{}> {
  override get message(): string {
    return "An upgrade is already in progress; wait for its outcome"
  }
}

/**
 * This process has handed over to a newer one. Ask that one.
 *
 * @since 3.0.0
 * @category errors
 */
export class AlreadyUpgradedError extends Data.TaggedError("AlreadyUpgradedError")<{
  /** Process id of the newer generation. */
  readonly pid: number
}> {
  override get message(): string {
    return `This process has already handed over to process ${this.pid}`
  }
}

/**
 * This process is stopping.
 *
 * @since 3.0.0
 * @category errors
 */
export class TerminatingError extends Data.TaggedError("TerminatingError")<{}> {
  override get message(): string {
    return "This process is stopping"
  }
}

/**
 * Older generations are still draining, as many as `maxDraining` allows.
 *
 * @since 3.0.0
 * @category errors
 */
export class ParentRunningError extends Data.TaggedError("ParentRunningError")<{
  readonly draining: number
  readonly maxDraining: number
}> {
  override get message(): string {
    return `${this.draining} older generation(s) are still draining and maxDraining is ${this.maxDraining}; ` +
      "wait for waitForParent, shorten drainTimeout or raise maxDraining"
  }
}

/**
 * The new process could not be started.
 *
 * - `NotRepeatable`: this process was started in a way that cannot be repeated (`node -e`, standard input, the REPL)
 * - `WorkingDirectory`: the directory to start in does not exist (any more) or cannot be entered
 * - `NotFound`: there is no such program
 * - `PermissionDenied`: the program may not be run
 * - `Resources`: no descriptors, processes or memory left (EMFILE, ENFILE, EAGAIN, ENOMEM)
 * - `TooBig`: arguments and environment exceed what the system takes (E2BIG)
 * - `Unknown`: anything else; see `cause`
 *
 * @since 3.0.0
 * @category errors
 */
export class SpawnError extends Data.TaggedError("SpawnError")<{
  readonly reason:
    | "NotRepeatable"
    | "WorkingDirectory"
    | "NotFound"
    | "PermissionDenied"
    | "Resources"
    | "TooBig"
    | "Unknown"
  /** What was to be run. */
  readonly command: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Could not start ${this.command}: ${this.detail}`
  }
}

/**
 * The new process ended before the upgrade was complete.
 *
 * @since 3.0.0
 * @category errors
 */
export class ChildExitedError extends Data.TaggedError("ChildExitedError")<{
  readonly pid: number
  readonly status: ExitStatus.ExitStatus
  /** Whether it had said that it was ready. */
  readonly ready: boolean
  /** The last lines that it printed, if they were captured. */
  readonly output?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    const isBackground = !this.ready && this.status._tag === "Exited" && this.status.code === 0
    return `The new process ${this.pid} ${ExitStatus.describe(this.status)} ` +
      (this.ready ? "soon after it said that it was ready" : "before it was ready") +
      (isBackground ? "; does it put itself in the background? It has to stay in the foreground" : "") +
      (this.output === undefined || this.output.length === 0
        ? "; its output tells why"
        : `; the last it printed:\n${this.output.map((line) => `  ${line}`).join("\n")}${portTaken(this.output)}`)
  }
}

const portTaken = (output: ReadonlyArray<string>): string =>
  output.some((line) => line.includes("EADDRINUSE"))
    ? "\n  It opens a port that is taken. The older generation has it until the new one is ready: " +
      "let tableflip open it (--listen), and the program take it from there"
    : ""

/**
 * The new process was not ready in time and has been ended.
 *
 * @since 3.0.0
 * @category errors
 */
export class UpgradeTimeoutError extends Data.TaggedError("UpgradeTimeoutError")<{
  readonly pid: number
  readonly timeout: Duration.Duration
}> {
  override get message(): string {
    return `The new process ${this.pid} was not ready within ${Duration.format(this.timeout)} and was ended; ` +
      "does it call ready? If it needs longer to start, raise upgradeTimeout"
  }
}

/**
 * The other process, or whoever set its variables, said something that the hand-off protocol does not know.
 *
 * @since 3.0.0
 * @category errors
 */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{
  /** Where it was said: an environment variable, the stream of names, or the ready stream. */
  readonly source: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Hand-off: ${this.source} ${this.detail}`
  }
}

/**
 * An address could not be bound, inherited or listened on.
 *
 * - `AddressInUse`: another process (or another server of this one) listens there
 * - `AlreadyClaimed`: this process has claimed the address before
 * - `AddressNotAvailable`: the host is not an address of this machine, or its name is not known
 * - `PermissionDenied`: a privileged port, or a directory that may not be written
 * - `InvalidAddress`: the address makes no sense; `detail` says why
 * - `WrongDescriptor`: what was inherited for this address is not such a socket
 * - `Closed`: the socket has been closed, by the end of its scope or by its server
 * - `Unknown`: anything else; see `cause`
 *
 * @since 3.0.0
 * @category errors
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly reason:
    | "AddressInUse"
    | "AlreadyClaimed"
    | "AddressNotAvailable"
    | "PermissionDenied"
    | "InvalidAddress"
    | "WrongDescriptor"
    | "Closed"
    | "Unknown"
  readonly address: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Could not listen on ${this.address}: ${this.detail}`
  }
}

/**
 * A connection or file could not be added, inherited or opened.
 *
 * @since 3.0.0
 * @category errors
 */
export class DescriptorError extends Data.TaggedError("DescriptorError")<{
  readonly reason: "AlreadyClaimed" | "NotOpen" | "WrongType"
  readonly name: string
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Descriptor ${this.name}: ${this.detail}`
  }
}

/** What the system says, but not of which file: that has a temporary name, which nobody has heard of. */
const withoutFile = (cause: unknown): string => {
  if (!(cause instanceof Error)) return String(cause)
  const { message, syscall } = cause as NodeJS.ErrnoException
  return message.split(`, ${syscall}`, 1).join()
}

/**
 * The PID file could not be written or removed, or it is another process's.
 *
 * @since 3.0.0
 * @category errors
 */
export class PidFileError extends Data.TaggedError("PidFileError")<{
  readonly reason: "NotWritten" | "NotRemoved" | "InUse"
  readonly path: string
  /** The process whose file it is. */
  readonly pid?: number | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.reason === "InUse"
      ? `The PID file ${this.path} is that of process ${this.pid}, which runs; stop that first, or name another file`
      : `Could not ${this.reason === "NotWritten" ? "write" : "remove"} the PID file ${this.path}: ${
        withoutFile(this.cause)
      }`
  }
}

/**
 * State could not go along with an upgrade.
 *
 * - `WrongKey`: a key that cannot be; `InUse`: one that is given already; `NotHere`: a process that hands no state over
 * - `Failure`, `Timeout`, `TooLarge`, `Encode`: the older process could not give the value
 * - `Decode`: this process does not understand it
 *
 * @since 3.0.0
 * @category errors
 */
export class HandOverError extends Data.TaggedError("HandOverError")<{
  readonly key: string
  readonly reason: "WrongKey" | "InUse" | "NotHere" | "Failure" | "Timeout" | "TooLarge" | "Encode" | "Decode"
  readonly detail: string
}> {
  override get message(): string {
    return `The state ${JSON.stringify(this.key)} cannot go along with an upgrade: ${this.detail}`
  }
}

/**
 * The supervisor that has started this process was asked to reload it, and that has failed. This process serves on.
 *
 * @since 3.0.0
 * @category errors
 */
export class ReloadError extends Data.TaggedError("ReloadError")<{
  /** What the supervisor says of it. */
  readonly detail: string
}> {
  override get message(): string {
    return `The reload by tableflip has failed. ${this.detail}`
  }
}

/**
 * Why an upgrade did not happen.
 *
 * @since 3.0.0
 * @category errors
 */
export type UpgradeError =
  | NotSupportedError
  | NotReadyError
  | UpgradeInProgressError
  | AlreadyUpgradedError
  | TerminatingError
  | ParentRunningError
  | SpawnError
  | ChildExitedError
  | UpgradeTimeoutError
  | ProtocolError
  | ReloadError

/**
 * Why this process could not say that it is ready.
 *
 * @since 3.0.0
 * @category errors
 */
export type ReadyError = PidFileError | ListenError | TerminatingError

/**
 * Why an upgrader could not be built.
 *
 * @since 3.0.0
 * @category errors
 */
export type BuildError = NotSupportedError | InvalidOptionError | UpgraderExistsError | ProtocolError
