/**
 * What all options have in common: how they are checked, and how one that cannot work is named.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { InvalidOptionError } from "../TableflipError.ts"

export const invalid = (option: string, value: unknown, expected: string) =>
  Either.left(new InvalidOptionError({ option, value: String(value), expected }))

/** `Duration.decode` makes zero of negative numbers and dies of words; an option says which one is wrong. */
export const decodeDuration = (
  option: string,
  input: Duration.DurationInput,
  allowZero: boolean
): Either.Either<Duration.Duration, InvalidOptionError> => {
  const expected = allowZero ? "a finite duration that is not negative" : "a finite duration above zero"
  const negative = (typeof input === "number" || typeof input === "bigint") && input < 0
  const decoded = negative || Number.isNaN(input) ? undefined : decodeOrUndefined(input)
  if (decoded === undefined) return invalid(option, input, expected)
  const duration = decoded
  const millis = Duration.toMillis(duration)
  return Number.isFinite(millis) && (millis > 0 || allowZero)
    ? Either.right(duration)
    : invalid(option, Duration.format(duration), expected)
}

const decodeOrUndefined = (input: Duration.DurationInput): Duration.Duration | undefined =>
  typeof input === "string" && input.trim().startsWith("-")
    ? undefined
    : Either.getOrUndefined(Either.try(() => Duration.decode(input)))

export const decodeCount = (option: string, value: number): Either.Either<number, InvalidOptionError> =>
  Number.isSafeInteger(value) && value >= 1 ? Either.right(value) : invalid(option, value, "a whole number from 1")

/** More than any machine has processors: whoever asks for more has mistyped, and would start them until nothing goes. */
const mostProcesses = 1_024

export const decodeProcesses = (option: string, value: number): Either.Either<number, InvalidOptionError> =>
  Number.isSafeInteger(value) && value >= 1 && value <= mostProcesses
    ? Either.right(value)
    : invalid(option, value, `a whole number from 1 to ${mostProcesses}`)

/** How many are replaced at a time; infinity for all. */
export const decodeAtOnce = (value: number | "all" = 1): Either.Either<number, InvalidOptionError> =>
  value === "all" ? Either.right(Infinity) : decodeCount("replace.atOnce", value)

/** Those of signal(7) that a process can handle, without those of its own faults and what other systems have besides. */
const catchable: ReadonlySet<string> = new Set(
  ("SIGHUP SIGINT SIGQUIT SIGTRAP SIGABRT SIGIOT SIGUSR1 SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGCHLD SIGSTKFLT SIGCONT SIGTSTP " +
    "SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPOLL SIGPWR SIGSYS SIGINFO").split(" ")
)

export const decodeSignals = (
  option: string,
  signals: ReadonlyArray<NodeJS.Signals>
): Either.Either<ReadonlyArray<NodeJS.Signals>, InvalidOptionError> => {
  const wrong = signals.find((signal) => !catchable.has(signal))
  return wrong === undefined
    ? Either.right(signals)
    : invalid(option, wrong, "made of signals that a process can handle, by the names of signal(7) such as SIGHUP")
}

/** The signals that ask for an upgrade. */
export const decodeUpgradeSignals = (signals: ReadonlyArray<NodeJS.Signals> | false = ["SIGHUP"]) =>
  decodeSignals("signals", signals === false ? [] : signals)
