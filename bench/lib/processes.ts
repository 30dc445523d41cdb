/** What the system knows of a process (proc(5)). */
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"

/** The fewest of several counts: clients have a connection open now and then. */
export const descriptors = async (pid: number): Promise<number> => {
  let fewest = Number.POSITIVE_INFINITY
  for (let count = 0; count < 20; count++) {
    await sleep(50)
    fewest = Math.min(fewest, fs.readdirSync(`/proc/${pid}/fd`).length)
  }
  return fewest
}

export const megabytes = (pid: number): number =>
  Number((Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1_024).toFixed(1))

/** False also for one that has ended while its parent has not taken notice. */
export const isRunning = (pid: number): boolean => {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8") !== ""
  } catch {
    return false
  }
}
