/**
 * Options, checked once when the upgrader is built.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { InvalidOptionError } from "../../TableflipError.ts"
import type { CommandOptions, Options } from "../../Upgrader.ts"
import * as drainOptions from "../drain/options.ts"
import { decodeCount, decodeDuration, decodeUpgradeSignals, invalid } from "../options.ts"

export interface Settings {
  readonly upgradeTimeout: Duration.Duration
  readonly drainTimeout: Duration.Duration
  readonly probation: Duration.Duration
  readonly stopTimeout: Duration.Duration
  readonly hookTimeout: Duration.Duration
  readonly exitTimeout: Duration.Duration
  readonly handOver: boolean
  readonly forcedExitCode: number
  readonly drain: NonNullable<Options["drain"]>
  readonly maxDraining: number
  readonly pidFile: string | undefined
  readonly signals: ReadonlyArray<NodeJS.Signals>
  readonly command: CommandOptions
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly baseEnvironment: "current" | "start"
}

export const decode = (options: Options): Either.Either<Settings, InvalidOptionError> =>
  Either.gen(function*() {
    const upgradeTimeout = yield* decodeDuration("upgradeTimeout", options.upgradeTimeout ?? "1 minute", false)
    const drainTimeout = yield* decodeDuration("drainTimeout", options.drainTimeout ?? "30 seconds", true)
    const probation = yield* decodeDuration("probation", options.probation ?? 0, true)
    const stopTimeout = yield* decodeDuration("stopTimeout", options.stopTimeout ?? "5 seconds", true)
    const drain = options.drain ?? {}
    const hookTimeout = yield* decodeDuration("drain.hookTimeout", drain.hookTimeout ?? "5 seconds", true)
    const exitTimeout = options.exitTimeout === Infinity || options.exitTimeout === Duration.infinity
      ? Duration.infinity
      : yield* decodeDuration("exitTimeout", options.exitTimeout ?? "10 seconds", true)
    yield* drainOptions.decode(drain, "drain.")
    const forcedExitCode = options.forcedExitCode ?? 0
    if (!Number.isInteger(forcedExitCode) || forcedExitCode < 0 || forcedExitCode > 255) {
      return yield* invalid("forcedExitCode", forcedExitCode, "a whole number from 0 to 255")
    }
    const maxDraining = yield* decodeCount("maxDraining", options.maxDraining ?? 1)
    if (options.pidFile === "") return yield* invalid("pidFile", `""`, "a path")
    const signals = yield* decodeUpgradeSignals(options.signals)
    return {
      upgradeTimeout,
      drainTimeout,
      probation,
      stopTimeout,
      hookTimeout,
      exitTimeout,
      handOver: options.handOver ?? true,
      forcedExitCode,
      drain,
      maxDraining,
      pidFile: options.pidFile,
      signals,
      command: options.command ?? {},
      environment: options.environment ?? {},
      baseEnvironment: options.baseEnvironment ?? "start"
    }
  })
