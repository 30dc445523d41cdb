/**
 * Options of a pool, checked once before anything is started.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type * as Schedule from "effect/Schedule"
import type { Address } from "../../Address.ts"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import type { Options } from "../../Workers.ts"
import { defaultRestart } from "../pool/restartSchedule.ts"
import { decodeDuration, invalid } from "../upgrade/options.ts"

export interface PoolSettings {
  readonly size: number
  readonly listen: ReadonlyArray<Address>
  readonly atOnce: number
  readonly restart: Schedule.Schedule<unknown, ExitStatus>
  readonly healthyAfter: Duration.Duration
  readonly readyTimeout: Duration.Duration
  readonly stopTimeout: Duration.Duration
  readonly stopSignals: ReadonlyArray<NodeJS.Signals>
  readonly upgradeSignals: ReadonlyArray<NodeJS.Signals>
}

export const decodeCount = (option: string, value: number): Either.Either<number, InvalidOptionError> =>
  Number.isSafeInteger(value) && value >= 1 ? Either.right(value) : invalid(option, value, "a whole number from 1")

const decodeAtOnce = (strategy: Options["strategy"]) =>
  strategy === "all" ? Either.right(Infinity) : decodeCount("strategy.rolling", strategy?.rolling ?? 1)

export const decode = (
  options: Options<any, any, any, any> & { readonly size: number }
): Either.Either<PoolSettings, InvalidOptionError> =>
  Either.gen(function*() {
    const upgradeSignals = options.upgradeSignal === false ? [] : [options.upgradeSignal ?? "SIGHUP"]
    const stopSignals = options.stopSignals ?? ["SIGINT", "SIGTERM"]
    const wrong = stopSignals.find((signal) => ["SIGKILL", "SIGSTOP", ...upgradeSignals].includes(signal))
    if (wrong !== undefined) {
      return yield* invalid("stopSignals", wrong, "made of signals that a process can handle, without upgradeSignal")
    }
    if (options.processes?.["worker"] !== undefined) {
      return yield* invalid("processes", "worker", "made of other names, because that is what workers are called")
    }
    return {
      size: yield* decodeCount("size", options.size),
      listen: options.listen ?? [],
      atOnce: yield* decodeAtOnce(options.strategy),
      restart: options.restart ?? defaultRestart,
      healthyAfter: yield* decodeDuration("healthyAfter", options.healthyAfter ?? "1 minute", true),
      readyTimeout: yield* decodeDuration("readyTimeout", options.readyTimeout ?? "1 minute", false),
      stopTimeout: yield* decodeDuration("stopTimeout", options.stopTimeout ?? "45 seconds", true),
      stopSignals,
      upgradeSignals
    }
  })
