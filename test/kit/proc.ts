/** What the system knows of processes (proc(5)). */
import * as fs from "node:fs"

/** What reads /proc runs only here. */
export const isLinux = process.platform === "linux"

export const readOrEmpty = (file: string): string => {
  try {
    return fs.readFileSync(file, "latin1")
  } catch {
    return ""
  }
}

export const linkOrEmpty = (file: string): string => {
  try {
    return fs.readlinkSync(file)
  } catch {
    return ""
  }
}

interface Stat {
  readonly state: string
  readonly parent: number
}

const statOf = (pid: number): Stat | undefined => {
  const text = readOrEmpty(`/proc/${pid}/stat`)
  const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ")
  return state === undefined || state === "" || parent === undefined ? undefined : { state, parent: Number(parent) }
}

export const pids = (): ReadonlyArray<number> =>
  fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number)

/** A zombie is not alive. */
export const isAlive = (pid: number): boolean => {
  const state = statOf(pid)?.state
  return state !== undefined && state !== "Z" && state !== "X"
}

/** Children of a process, zombies too. */
export const children = (pid: number): ReadonlyArray<{ readonly pid: number; readonly state: string }> =>
  pids().flatMap((child) => {
    const stat = statOf(child)
    return stat?.parent === pid ? [{ pid: child, state: stat.state }] : []
  })

export const megabytes = (pid: number): number =>
  Number((Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1_024).toFixed(1))
