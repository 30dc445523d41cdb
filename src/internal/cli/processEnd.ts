/**
 * Waiting for the end of a process that this one has not started.
 *
 * @internal
 */
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"

/** One that has ended and whose parent has not asked for its status is over too. */
const isZombie = (pid: number): boolean => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8")
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2))
  } catch {
    return false
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false
  }
  return !isZombie(pid)
}

const interval = 20

/** Whether it has ended by then. */
export const hasEnded = async (pid: number, until: number): Promise<boolean> => {
  while (isAlive(pid)) {
    if (performance.now() >= until) return false
    await sleep(interval)
  }
  return true
}
