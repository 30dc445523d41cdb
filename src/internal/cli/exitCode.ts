/**
 * What the exit code of the command tells.
 *
 * @internal
 */
import { constants } from "node:os"
import * as ExitStatus from "../../ExitStatus.ts"
import type { PoolError, ProcessStartError, StartFailure } from "../../PoolError.ts"
import type { BuildError } from "../../Supervisor.ts"
import type { ListenError, SpawnError } from "../../TableflipError.ts"
import { UsageError } from "./flag.ts"

/** As shells have it. */
export const signalCode = (signal: NodeJS.Signals): number => 128 + constants.signals[signal]

/** As shells have it: the code, or 128 and the number of the signal. */
export const ofStatus: (status: ExitStatus.ExitStatus) => number = ExitStatus.match({
  Exited: ({ code }) => code,
  Killed: ({ signal }) => signalCode(signal)
})

/** The signals that ask for a stop, and by which a service ends in good order, as systemd sees it. */
const stops: ReadonlyArray<NodeJS.Signals> = ["SIGTERM", "SIGINT", "SIGHUP"]

/** The signal that this process should end by, where its command has ended by it. */
export const signalOf = (status: ExitStatus.ExitStatus): NodeJS.Signals | undefined =>
  status._tag === "Killed" && stops.includes(status.signal) ? status.signal : undefined

// From sysexits.h, as far as there is a number for it.
const unavailable = 69
const late = 70
const noInput = 66
const notCreated = 73
const noPermission = 77
const notExecutable = 126
const notFound = 127

/** A failure must not look like a success. */
const notZero = (code: number) => code === 0 ? 1 : code

const ofSpawnError = ({ reason }: SpawnError): number => {
  switch (reason) {
    case "NotFound":
      return notFound
    case "PermissionDenied":
      return notExecutable
    case "WorkingDirectory":
      return noInput
    default:
      return 1
  }
}

const ofListenError = ({ reason }: ListenError): number => {
  switch (reason) {
    case "AddressInUse":
    case "AddressNotAvailable":
      return unavailable
    case "PermissionDenied":
      return noPermission
    case "InvalidAddress":
      return UsageError.exitCode
    default:
      return 1
  }
}

const ofStartFailure = (failure: StartFailure): number => {
  switch (failure._tag) {
    case "SpawnError":
      return ofSpawnError(failure)
    case "EnvironmentFileError":
      return noInput
    case "ReadyTimeoutError":
      return late
    case "ChildExitedError":
      return notZero(ofStatus(failure.status))
    case "ProtocolError":
      return 1
  }
}

export const ofError = (error: BuildError | PoolError | ProcessStartError): number => {
  switch (error._tag) {
    case "InvalidOptionError":
      return UsageError.exitCode
    case "ListenError":
      return ofListenError(error)
    case "PidFileError":
      return notCreated
    case "ProcessStartError":
      return ofStartFailure(error.cause)
    case "RestartsExhaustedError":
      return notZero(ofStatus(error.status))
    case "ProcessEndedError":
      return ofStatus(error.status)
    default:
      return 1
  }
}
