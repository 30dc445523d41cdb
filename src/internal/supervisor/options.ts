/**
 * Options of a supervisor, checked once.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { isIPv4 } from "node:net"
import type { Address, PortAddress } from "../../Address.ts"
import { format, isPath } from "../../Address.ts"
import * as Readiness from "../../Readiness.ts"
import type { Command, Listen, Options } from "../../Supervisor.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import { decodeAtOnce, decodeCount, decodeDuration, decodeProcesses, invalid } from "../options.ts"
import type { RestartLimits } from "../pool/restartSchedule.ts"

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
  readonly stopFirst: boolean
  readonly environmentFiles: ReadonlyArray<string>
  readonly reloadOnChange: ReadonlyArray<string>
  readonly capture: boolean
  /** Whether each line of the output says which process it is of. */
  readonly prefixes: boolean
  readonly leaveRunning: boolean
  readonly pidFile: string | undefined
  readonly openFiles: number | undefined
}

const checkReadiness = (readiness: Readiness.Readiness, canProbe: boolean): Either.Either<void, InvalidOptionError> =>
  Readiness.match(readiness, {
    Wire: () => Either.void,
    Descriptor: ({ number }) =>
      Number.isInteger(number) && number > 2 && number < 1024
        ? Either.void
        : invalid("ready.when", `descriptor ${number}`, "a descriptor from 3 to 1023"),
    Http: ({ url, ...probing }) =>
      ["http:", "https:"].includes(url.protocol)
        ? checkProbing(probing, canProbe)
        : invalid("ready.when", url.href, "a URL that begins with http: or https:"),
    Tcp: ({ port, ...probing }) =>
      Number.isInteger(port) && port > 0 && port < 65536
        ? checkProbing(probing, canProbe)
        : invalid("ready.when", `port ${port}`, "a port above zero"),
    Warmup: ({ duration }) => Either.map(decodeDuration("ready.when.duration", duration, true), () => {})
  })

const checkProbing = ({ interval = 100, timeout = 1_000 }: Readiness.Probing, canProbe: boolean) =>
  Either.gen(function*() {
    if (!canProbe) {
      return yield* invalid("ready.when", "a probe", "something else here: only Linux tells which process has answered")
    }
    yield* decodeDuration("ready.when.interval", interval, true)
    yield* decodeDuration("ready.when.timeout", timeout, false)
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
  const keys = listen.map(({ address, name }, index) => `${name ?? (isFixed(address) ? "" : index)} ${format(address)}`)
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  return twice === undefined ? checkOverlap(listen) : invalid("listen", twice.trim(), "named once")
}

/** A process cannot end by these. */
const noStop: ReadonlyArray<NodeJS.Signals> = ["SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT"]

const isEverywhere = ({ host }: PortAddress) => host === undefined || host === "::"

/** Whether one address takes what the other asks for. Names are not looked up. */
const overlap = (one: Address, other: Address): boolean => {
  if (isPath(one) || isPath(other) || one.port !== other.port || one.port === 0) return false
  if (one.ipv6Only === true || other.ipv6Only === true) return false
  if (isEverywhere(one) || isEverywhere(other)) return true
  const [first = "", second = ""] = [one.host, other.host]
  return [first, second].includes("0.0.0.0") && isIPv4(first) && isIPv4(second)
}

const checkOverlap = (listen: ReadonlyArray<Listen>): Either.Either<void, InvalidOptionError> => {
  const addresses = listen.map(({ address }) => address)
  for (const [index, one] of addresses.entries()) {
    const other = addresses.slice(index + 1).find((other) => overlap(one, other))
    if (other !== undefined) {
      return invalid("listen", `${format(one)} and ${format(other)}`, "addresses of which none takes in another")
    }
  }
  return Either.void
}

/** Port 0 is another port each time. */
const isFixed = (address: Address) => !("port" in address) || address.port !== 0

/** `canProbe` is whether the system tells which process has answered. */
export const decode = (options: Options, canProbe: boolean): Either.Either<Settings, InvalidOptionError> =>
  Either.gen(function*() {
    const { ready, replace, restart, stop } = options
    const readiness = ready?.when ?? Readiness.Warmup({ duration: "1 second" })
    yield* checkReadiness(readiness, canProbe)
    const readyTimeout = yield* decodeDuration("ready.timeout", ready?.timeout ?? "1 minute", false)
    if (
      readiness._tag === "Warmup" && Duration.greaterThanOrEqualTo(Duration.decode(readiness.duration), readyTimeout)
    ) {
      return yield* invalid("ready.timeout", Duration.format(readyTimeout), "longer than the warm-up")
    }
    const listen = options.listen ?? []
    yield* checkListen(listen)
    const limit = restart?.limit
    if (noStop.includes(stop?.signal ?? "SIGTERM")) {
      return yield* invalid("stop.signal", stop?.signal, "a signal that a process can end by")
    }
    if (options.command.name === "") return yield* invalid("command", `""`, "the name of a program")
    if (options.pidFile === "") return yield* invalid("pidFile", `""`, "a path")
    const leaveRunning = options.leaveRunning ?? false
    const capture = options.capture !== undefined && options.capture !== false
    // The pipe would break under it.
    if (leaveRunning && capture) return yield* invalid("capture", options.capture, "false together with leaveRunning")
    // Between the end of the old one and the start of the new one nobody is there to be left.
    if (leaveRunning && replace?.stopFirst === true) {
      return yield* invalid("replace.stopFirst", true, "false together with leaveRunning")
    }
    const delay = yield* decodeDuration("restart.delay", restart?.delay ?? "100 millis", true)
    const maxDelay = yield* decodeDuration("restart.maxDelay", restart?.maxDelay ?? "10 seconds", true)
    return {
      command: options.command,
      listen,
      activated: options.activated ?? true,
      readiness,
      readyTimeout,
      stopSignal: stop?.signal ?? "SIGTERM",
      stopTimeout: yield* decodeDuration("stop.timeout", stop?.timeout ?? "30 seconds", true),
      restart: restart?.policy ?? "on-failure",
      limits: {
        delay,
        maxDelay: Duration.max(delay, maxDelay),
        limit: limit === undefined ? undefined : {
          count: yield* decodeCount("restart.limit.count", limit.count),
          within: yield* decodeDuration("restart.limit.within", limit.within, false)
        }
      },
      workers: yield* decodeProcesses("workers", options.workers ?? 1),
      atOnce: yield* decodeAtOnce(replace?.atOnce),
      stopFirst: replace?.stopFirst ?? false,
      environmentFiles: options.environmentFiles ?? [],
      reloadOnChange: options.reloadOnChange ?? [],
      capture,
      prefixes: options.capture === "prefixed",
      leaveRunning,
      pidFile: options.pidFile,
      openFiles: options.openFiles === undefined ? undefined : yield* decodeCount("openFiles", options.openFiles)
    }
  })
