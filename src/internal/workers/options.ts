/**
 * Options of a pool, checked once before anything is started.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type { Address } from "../../Address.ts"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import type { Options } from "../../Workers.ts"
import {
  decodeAtOnce,
  decodeDuration,
  decodeProcesses,
  decodeSignals,
  decodeUpgradeSignals,
  invalid
} from "../options.ts"
import { defaultRestart } from "../pool/restartSchedule.ts"
import type { MemoryLimit } from "./memory.ts"

export interface PoolSettings {
  readonly size: number
  readonly listen: ReadonlyArray<Address>
  readonly atOnce: number
  readonly restart: Schedule.Schedule<unknown, ExitStatus>
  readonly healthyAfter: Duration.Duration
  readonly readyTimeout: Duration.Duration
  readonly stopTimeout: Duration.Duration
  /** For how long the event loop of a worker may stand still; none for ever. */
  readonly heartbeat: Option.Option<Duration.Duration>
  /** When a process that serves asks for another in its place. */
  readonly memoryLimit: Option.Option<MemoryLimit>
  readonly stopSignals: ReadonlyArray<NodeJS.Signals>
  readonly upgradeSignals: ReadonlyArray<NodeJS.Signals>
}

const decodeMemoryLimit = (
  { jitter = 0.1, maxMemory }: NonNullable<Options["recycle"]> = {}
): Either.Either<Option.Option<MemoryLimit>, InvalidOptionError> => {
  if (maxMemory !== undefined && !(maxMemory > 0 && Number.isFinite(maxMemory))) {
    return invalid("recycle.maxMemory", maxMemory, "a number of bytes above zero")
  }
  if (!(jitter >= 0 && jitter < 1)) return invalid("recycle.jitter", jitter, "a number from 0 to below 1")
  return Either.right(maxMemory === undefined ? Option.none() : Option.some({ jitter, maxMemory }))
}

export const decode = (
  options: Options<any, any, any, any> & { readonly size: number }
): Either.Either<PoolSettings, InvalidOptionError> =>
  Either.gen(function*() {
    const { heartbeat, ready, replace, restart, stop } = options
    const upgradeSignals = yield* decodeUpgradeSignals(options.signals)
    const stopSignals = yield* decodeSignals("stop.signals", stop?.signals ?? ["SIGINT", "SIGTERM"])
    const both = stopSignals.find((signal) => upgradeSignals.includes(signal))
    if (both !== undefined) return yield* invalid("stop.signals", both, "without those of signals, which upgrade")
    if (options.processes?.["worker"] !== undefined) {
      return yield* invalid("processes", "worker", "made of other names, because that is what workers are called")
    }
    return {
      size: yield* decodeProcesses("size", options.size),
      listen: options.listen ?? [],
      atOnce: yield* decodeAtOnce(replace?.atOnce),
      restart: restart?.schedule ?? defaultRestart,
      healthyAfter: yield* decodeDuration("restart.healthyAfter", restart?.healthyAfter ?? "1 minute", true),
      readyTimeout: yield* decodeDuration("ready.timeout", ready?.timeout ?? "1 minute", false),
      stopTimeout: yield* decodeDuration("stop.timeout", stop?.timeout ?? "45 seconds", true),
      heartbeat: heartbeat === false
        ? Option.none()
        : Option.some(yield* decodeDuration("heartbeat.timeout", heartbeat?.timeout ?? "1 minute", false)),
      memoryLimit: yield* decodeMemoryLimit(options.recycle),
      stopSignals,
      upgradeSignals
    }
  })
