/**
 * Options, checked once when the upgrader is built.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { InvalidOptionError } from "../../TableflipError.ts"
import type { CommandOptions, Options } from "../../Upgrader.ts"

export interface Settings {
  readonly upgradeTimeout: Duration.Duration
  readonly drainTimeout: Duration.Duration
  readonly probation: Duration.Duration
  readonly killGrace: Duration.Duration
  readonly hookTimeout: Duration.Duration
  readonly exitTimeout: Duration.Duration
  readonly forcedExitCode: number
  readonly drain: NonNullable<Options["drain"]>
  readonly maxDraining: number
  readonly pidFile: string | undefined
  readonly signals: ReadonlyArray<NodeJS.Signals>
  readonly command: CommandOptions
  readonly environment: Readonly<Record<string, string | undefined>>
}

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

const uncatchable: ReadonlyArray<NodeJS.Signals> = ["SIGKILL", "SIGSTOP"]

export const decode = (options: Options): Either.Either<Settings, InvalidOptionError> =>
  Either.gen(function*() {
    const upgradeTimeout = yield* decodeDuration("upgradeTimeout", options.upgradeTimeout ?? "1 minute", false)
    const drainTimeout = yield* decodeDuration("drainTimeout", options.drainTimeout ?? "30 seconds", true)
    const probation = yield* decodeDuration("probation", options.probation ?? 0, true)
    const killGrace = yield* decodeDuration("killGrace", options.killGrace ?? "5 seconds", true)
    const hookTimeout = yield* decodeDuration("hookTimeout", options.hookTimeout ?? "5 seconds", true)
    const exitTimeout = yield* decodeDuration("exitTimeout", options.exitTimeout ?? "10 seconds", true)
    const drain = options.drain ?? {}
    for (const name of ["idleTimeout", "lingerTimeout", "webSocketSpread"] as const) {
      yield* decodeDuration(`drain.${name}`, drain[name] ?? 0, true)
    }
    const forcedExitCode = options.forcedExitCode ?? 0
    if (!Number.isInteger(forcedExitCode) || forcedExitCode < 0 || forcedExitCode > 255) {
      return yield* invalid("forcedExitCode", forcedExitCode, "a whole number from 0 to 255")
    }
    const maxDraining = options.maxDraining ?? 1
    if (!Number.isInteger(maxDraining) || maxDraining < 1) {
      return yield* invalid("maxDraining", maxDraining, "a whole number from 1")
    }
    if (options.pidFile === "") return yield* invalid("pidFile", `""`, "a path")
    const signals = options.signals === false ? [] : options.signals ?? ["SIGHUP"]
    const wrong = signals.find((signal) => uncatchable.includes(signal))
    if (wrong !== undefined) return yield* invalid("signals", wrong, "made of signals that a process can handle")
    return {
      upgradeTimeout,
      drainTimeout,
      probation,
      killGrace,
      hookTimeout,
      exitTimeout,
      forcedExitCode,
      drain,
      maxDraining,
      pidFile: options.pidFile,
      signals,
      command: options.command ?? {},
      environment: options.environment ?? {}
    }
  })
