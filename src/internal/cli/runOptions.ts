/**
 * What the flags of `tableflip run` ask of a supervisor.
 *
 * @internal
 */
import * as tty from "node:tty"
import { isFile } from "../../Address.ts"
import * as Readiness from "../../Readiness.ts"
import type * as Supervisor from "../../Supervisor.ts"
import { listed, UsageError } from "./flag.ts"
import type { Parsed } from "./parse.ts"
import type { flags } from "./runFlags.ts"

export type Run = Parsed<typeof flags>

const readinessFlags = ["ready-fd", "ready-http", "ready-tcp", "ready-wire", "warmup"] as const

/** The one way that was named, or what is wrong with those that were. */
const readinessOf = ({ typed, values }: Run): Readiness.Readiness | undefined => {
  const named = readinessFlags.filter((name) => values[name] !== undefined && values[name] !== false)
  if (named.length > 1) {
    throw new UsageError(
      `${listed(named.map(typed), "and")} exclude each other: only one of them can be given`
    )
  }
  const probing = { interval: values["ready-interval"], timeout: values["ready-probe-timeout"] }
  const http = values["ready-http"]
  const tcp = values["ready-tcp"]
  if (http !== undefined) return Readiness.Http({ url: http, ...probing })
  if (tcp !== undefined) return Readiness.Tcp({ ...tcp, ...probing })
  for (const name of ["ready-interval", "ready-probe-timeout"] as const) {
    if (values[name] !== undefined) throw new UsageError(`${typed(name)} goes with --ready-http or --ready-tcp`)
  }
  const number = values["ready-fd"]
  const duration = values.warmup
  const { "ready-timeout": timeout = 60_000 } = values
  if (duration !== undefined && duration >= timeout) {
    throw new UsageError(
      `${typed("warmup")} must be shorter than ${typed("ready-timeout")}, which is ${timeout / 1_000}`
    )
  }
  return number !== undefined
    ? Readiness.Descriptor({ number })
    : values["ready-wire"]
    ? Readiness.Wire
    : duration === undefined
    ? undefined
    : Readiness.Warmup({ duration })
}

const commandOf = ({ command: [name, ...args] = [], values: { cwd } }: Run): Supervisor.Command => {
  if (name === "") throw new UsageError("the command after -- is empty")
  if (name !== undefined) return { name, args, directory: cwd }
  throw new UsageError("the command is missing: nothing follows --")
}

export const toOptions = (run: Run): Supervisor.Options => {
  const { operands: [operand], typed, values } = run
  if (run.command === undefined) {
    throw new UsageError(
      "the command is missing: put it after the options, with -- in between, as in tableflip run --listen 8080 -- node app.js"
    )
  }
  if (operand !== undefined) {
    throw new UsageError(`${JSON.stringify(operand)} is no option; the command comes after --`)
  }
  const { mode, backlog, listen } = values
  if (mode !== undefined && !listen.some(({ address }) => isFile(address))) {
    throw new UsageError(`${typed("mode")} goes with --listen unix:…`)
  }
  if (values["leave-running"] && values["kill-at-exit"]) {
    throw new UsageError(`${typed("leave-running")} and ${typed("kill-at-exit")} contradict each other`)
  }
  const inherits = tty.isatty(1) || values["leave-running"]
  const capture = (values.output ?? (inherits ? "inherit" : "capture")) === "capture"
  if (values["leave-running"] && capture) {
    throw new UsageError(
      `${typed("leave-running")} and ${typed("output")} capture exclude each other: the output would end with tableflip`
    )
  }
  return {
    command: commandOf(run),
    listen: listen.map(({ address, name }) => ({
      name,
      address: { ...address, backlog, ...isFile(address) ? { mode } : {} }
    })),
    readiness: readinessOf(run),
    readyTimeout: values["ready-timeout"],
    stopSignal: values["stop-signal"],
    stopTimeout: values["stop-timeout"],
    restart: values.restart,
    restartDelay: values["restart-delay"],
    maxRestartDelay: values["restart-max-delay"],
    maxRestarts: values["max-restarts"],
    workers: values.workers,
    strategy: values["all-at-once"] ? "all" : { rolling: 1 },
    environmentFiles: values["env-file"],
    capture,
    leaveRunning: values["leave-running"],
    pidFile: values["pid-file"]
  }
}

const names: Partial<Record<string, keyof typeof flags>> = {
  listen: "listen",
  warmup: "warmup",
  "readiness.interval": "ready-interval",
  "readiness.timeout": "ready-probe-timeout",
  readyTimeout: "ready-timeout",
  stopSignal: "stop-signal",
  stopTimeout: "stop-timeout",
  restart: "restart",
  restartDelay: "restart-delay",
  maxRestartDelay: "restart-max-delay",
  "maxRestarts.count": "max-restarts",
  "maxRestarts.within": "max-restarts",
  workers: "workers",
  "strategy.rolling": "all-at-once",
  environmentFiles: "env-file",
  capture: "output",
  leaveRunning: "leave-running",
  pidFile: "pid-file"
}

/** What was typed for an option of the supervisor. */
export const typedFor = (option: string, { typed, values }: Run): string | undefined => {
  if (option === "command") return "the command"
  const name = option === "readiness"
    ? readinessFlags.find((name) => values[name] !== undefined && values[name] !== false)
    : names[option]
  return name === undefined ? undefined : typed(name)
}
