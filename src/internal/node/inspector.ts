/**
 * The inspector of a process that this one starts: on a port of its own, as the workers of node:cluster have it.
 *
 * @internal
 */
import type { Command } from "../system/process.ts"

interface Debugged {
  readonly execArgv: ReadonlyArray<string>
  /** NODE_OPTIONS */
  readonly options: string
  /** Of this process. */
  readonly port: number
}

const asksForInspector = /^--inspect(-brk|-wait)?(=|$)/

/** There the system gives each process its own. */
const isAnyPort = (flag: string): boolean => /^--inspect(-brk|-wait|-port)?=(.*:)?0$/.test(flag)

const isPort = (flag: string): boolean => /^--(inspect|debug)-port=/.test(flag)

const firstPort = 1024
const lastPort = 65_535

/** Each time with the next port, if this process was started with an inspector. */
export const withOwnInspector = (debugged: Debugged) => {
  const { execArgv, options, port } = debugged
  const flags = [...options.split(/\s+/), ...execArgv]
  if (!flags.some((flag) => asksForInspector.test(flag)) || flags.some(isAnyPort)) return (command: Command) => command
  let next = port
  return (command: Command): Command => {
    next = next < lastPort ? next + 1 : firstPort
    // What is for the program itself comes after these.
    const own = command.args.slice(0, execArgv.length).filter((flag) => !isPort(flag))
    return { ...command, args: [...own, `--inspect-port=${next}`, ...command.args.slice(execArgv.length)] }
  }
}
