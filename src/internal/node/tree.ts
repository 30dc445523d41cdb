/**
 * A process with all that it has started.
 *
 * @internal
 */
import type * as childProcess from "node:child_process"
import * as proc from "./proc.ts"
import * as procProcesses from "./procProcesses.ts"

const signalOne = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal)
  } catch {
    // It has ended meanwhile, or belongs to another user now.
    return false
  }
}

/**
 * Signals what the session of a child that has ended still holds. Its number is not given to another process as long as
 * somebody is left in it.
 */
export const signalSession = (session: number, signal: NodeJS.Signals | 0): ReadonlyArray<number> => {
  if (!proc.isThere()) return signalOne(-session, signal) ? [session] : []
  const left = procProcesses.sessionOf(session)
  for (const pid of left) signalOne(pid, signal)
  return left
}

/** Ends a child and all that descends from it, also what has made itself a session of its own. */
export const kill = (child: childProcess.ChildProcess, tree: "own" | "shared"): boolean => {
  const isThere = child.pid !== undefined && child.exitCode === null && child.signalCode === null
  if (!isThere) return false
  const descendants = procProcesses.descendantsOf(child.pid)
  // First the one that would start others in their place.
  child.kill("SIGKILL")
  for (const pid of descendants) signalOne(pid, "SIGKILL")
  if (tree === "own") signalSession(child.pid, "SIGKILL")
  return true
}
