/**
 * Options of a supervisor, checked once.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { Address } from "../../Address.ts"
import { format } from "../../Address.ts"
import * as Readiness from "../../Readiness.ts"
import type { Command, Listen, Options } from "../../Supervisor.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import type { RestartLimits } from "../pool/restartSchedule.ts"
import { decodeDuration, invalid } from "../upgrade/options.ts"

export interface Settings {
  readonly command: Command
  readonly listen: ReadonlyArray<Listen>
  readonly activated: boolean
  readonly readiness: Readiness.Readiness
  readonly readyTimeout: Duration.Duration
  readonly stopSignal: NodeJS.Signals
  readonly stopTimeout: Duration.Duration
  readonly restart: "always" | "on-failure" | "never"
  readonly limits: RestartLimits
  readonly workers: number
  /** How many are replaced at a time. */
  readonly atOnce: number
  readonly environmentFiles: ReadonlyArray<string>
  readonly capture: boolean
  readonly leaveRunning: boolean
  readonly pidFile: string | undefined
}

const isCount = (value: number) => Number.isSafeInteger(value) && value > 0

const checkReadiness = (readiness: Readiness.Readiness, canProbe: boolean): Either.Either<void, InvalidOptionError> =>
  Readiness.match(readiness, {
    Wire: () => Either.void,
    Descriptor: ({ number }) =>
      Number.isInteger(number) && number > 2 && number < 1024
        ? Either.void
        : invalid("readiness", `descriptor ${number}`, "a descriptor from 3 to 1023"),
    Http: ({ url, ...probing }) =>
      ["http:", "https:"].includes(url.protocol)
        ? checkProbing(probing, canProbe)
        : invalid("readiness", url.href, "a URL that begins with http: or https:"),
    Tcp: ({ port, ...probing }) =>
      isCount(port) && port < 65536
        ? checkProbing(probing, canProbe)
        : invalid("readiness", `port ${port}`, "a port above zero"),
    Warmup: ({ duration }) => Either.map(decodeDuration("warmup", duration, true), () => {})
  })

const checkProbing = ({ interval = 100, timeout = 1_000 }: Readiness.Probing, canProbe: boolean) =>
  Either.gen(function*() {
    if (!canProbe) {
      return yield* invalid("readiness", "a probe", "something else here: only Linux tells which process has answered")
    }
    yield* decodeDuration("readiness.interval", interval, true)
    yield* decodeDuration("readiness.timeout", timeout, false)
  })

const checkListen = (listen: ReadonlyArray<Listen>): Either.Either<void, InvalidOptionError> => {
  const names = listen.map(({ name }) => name).filter((name) => name !== undefined)
  const wrong = names.find((name) => !/^[\x21-\x7e]{1,255}$/.test(name) || name.includes(":"))
  if (wrong !== undefined) {
    return invalid(
      "listen",
      `named ${JSON.stringify(wrong)}`,
      "named without colons and spaces, in ASCII, as systemd has it"
    )
  }
  const keys = listen.map(({ address, name }) => `${name ?? ""} ${isFixed(address) ? "" : name} ${format(address)}`)
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  return twice === undefined ? Either.void : invalid("listen", twice.trim(), "named once")
}

/** Port 0 is another port each time. */
const isFixed = (address: Address) => !("port" in address) || address.port !== 0

/** `canProbe` is whether the system tells which process has answered. */
export const decode = (options: Options, canProbe: boolean): Either.Either<Settings, InvalidOptionError> =>
  Either.gen(function*() {
    const readiness = options.readiness ?? Readiness.Warmup({ duration: "1 second" })
    yield* checkReadiness(readiness, canProbe)
    const readyTimeout = yield* decodeDuration("readyTimeout", options.readyTimeout ?? "1 minute", false)
    if (
      readiness._tag === "Warmup" && Duration.greaterThanOrEqualTo(Duration.decode(readiness.duration), readyTimeout)
    ) {
      return yield* invalid("readyTimeout", Duration.format(readyTimeout), "longer than the warm-up")
    }
    const listen = options.listen ?? []
    yield* checkListen(listen)
    const workers = options.workers ?? 1
    if (!isCount(workers)) return yield* invalid("workers", workers, "a whole number above zero")
    const strategy = options.strategy ?? { rolling: 1 }
    if (strategy !== "all" && !isCount(strategy.rolling)) {
      return yield* invalid("strategy.rolling", strategy.rolling, "a whole number above zero")
    }
    const max = options.maxRestarts
    if (max !== undefined && !isCount(max.count)) {
      return yield* invalid("maxRestarts.count", max.count, "a whole number above zero")
    }
    if (options.command.name === "") return yield* invalid("command", `""`, "the name of a program")
    if (options.pidFile === "") return yield* invalid("pidFile", `""`, "a path")
    const leaveRunning = options.leaveRunning ?? false
    const capture = options.capture ?? false
    // The pipe would break under it.
    if (leaveRunning && capture) return yield* invalid("capture", capture, "false together with leaveRunning")
    const delay = yield* decodeDuration("restartDelay", options.restartDelay ?? "100 millis", true)
    const maxDelay = yield* decodeDuration("maxRestartDelay", options.maxRestartDelay ?? "10 seconds", true)
    return {
      command: options.command,
      listen,
      activated: options.activated ?? true,
      readiness,
      readyTimeout,
      stopSignal: options.stopSignal ?? "SIGTERM",
      stopTimeout: yield* decodeDuration("stopTimeout", options.stopTimeout ?? "30 seconds", true),
      restart: options.restart ?? "on-failure",
      limits: {
        delay,
        maxDelay: Duration.max(delay, maxDelay),
        max: max === undefined
          ? undefined
          : { count: max.count, within: yield* decodeDuration("maxRestarts.within", max.within, false) }
      },
      workers,
      atOnce: strategy === "all" ? workers : strategy.rolling,
      environmentFiles: options.environmentFiles ?? [],
      capture,
      leaveRunning,
      pidFile: options.pidFile
    }
  })
