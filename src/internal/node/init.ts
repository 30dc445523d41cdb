/**
 * Whether something else ends with this process that would take its successor along: the container whose process 1 it is,
 * or an init that ends with its child.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as procProcesses from "./procProcesses.ts"

/** Inits that end when the one child ends that they have started. */
const isInit = (name: string): boolean => ["tini", "docker-init", "catatonit", "dumb-init"].includes(name)

const isShell = (name: string): boolean => ["sh", "dash", "bash", "ash", "busybox", "zsh", "ksh"].includes(name)

/** Whether a shell runs a script or a command by these arguments, and is not one at whose prompt somebody types. */
export const isScript = ([word, ...more]: ReadonlyArray<string>): boolean => {
  if (word === undefined) return false
  if (/^--(rcfile|init-file)$/.test(word) || /^[-+][a-z]*[oO]$/.test(word)) return isScript(more.slice(1))
  return !/^(-[a-bd-z]*|--[a-z-]*|\+[a-z]+)$/i.test(word) || isScript(more)
}

const runsScript = (pid: number): boolean => isScript(procProcesses.argumentsOf(pid).slice(1))

const endsWithChild = (pid: number, name: string): boolean =>
  isInit(name) || name.startsWith("npm ") || isShell(name) && runsScript(pid)

const theKernel = "with process 1 the kernel ends all others of the container"

const reasonAbove = (pid: number): string | undefined => {
  const name = procProcesses.nameOf(pid)
  // Process 1 or not: when its child ends, it sends SIGTERM to all that the child has left.
  if (name === "dumb-init") return `dumb-init (process ${pid}) signals everything that is left when this process ends`
  if (name === undefined || !endsWithChild(pid, name)) return undefined
  if (pid === 1) return `${name}, which is process 1, ends with this process, and ${theKernel}`
  const parent = procProcesses.parentOf(pid)
  return parent === undefined ? undefined : reasonAbove(parent)
}

/** Why nothing that this process has started can outlive it; none where it can. */
export const endsWithThis = (pid: number, parent: number): Option.Option<string> =>
  Option.fromNullable(pid === 1 ? `this is process 1, and ${theKernel}` : reasonAbove(parent))
