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
import { flagFor } from "./optionFlags.ts"
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
  if (values["leave-running"] && values["stop-first"]) {
    throw new UsageError(
      `${typed("leave-running")} and ${
        typed("stop-first")
      } exclude each other: in a reload there may be nobody to leave`
    )
  }
  const inherits = tty.isatty(1) || values["leave-running"]
  const output = values.output ?? (inherits ? "inherit" : "capture")
  const capture = output === "prefix" ? "prefixed" : output === "capture"
  if (values["leave-running"] && capture !== false) {
    throw new UsageError(
      `${typed("leave-running")} and ${
        typed("output")
      } ${output} exclude each other: the output would end with tableflip`
    )
  }
  return {
    command: commandOf(run),
    listen: listen.map(({ address, name }) => ({
      name,
      address: { ...address, backlog, ...isFile(address) ? { mode } : {} }
    })),
    ready: { when: readinessOf(run), timeout: values["ready-timeout"] },
    stop: { signal: values["stop-signal"], timeout: values["stop-timeout"] },
    restart: {
      policy: values.restart,
      delay: values["restart-delay"],
      maxDelay: values["max-restart-delay"],
      limit: values["max-restarts"]
    },
    workers: values.workers,
    replace: { atOnce: values["replace-at-once"], stopFirst: values["stop-first"] },
    environmentFiles: values["env-file"],
    reloadOnChange: values["reload-on-change"],
    capture,
    leaveRunning: values["leave-running"],
    pidFile: values["pid-file"],
    openFiles: values["open-files"]
  }
}

/** What was typed for an option of the supervisor. */
export const typedFor = (option: string, { typed, values }: Run): string | undefined => {
  if (option === "command") return "the command"
  const name = option === "ready.when"
    ? readinessFlags.find((name) => values[name] !== undefined && values[name] !== false)
    : flagFor[option]
  return name === undefined ? undefined : typed(name)
}
