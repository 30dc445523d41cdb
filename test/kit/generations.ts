/**
 * A program under test and all its generations, seen through the standard output that they share.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"

export interface Generations {
  /** The process that was started first. */
  readonly pid: number
  /** The groups of the next line that matches, as of now or as of `from`; fails after `timeout` milliseconds. */
  readonly line: (pattern: RegExp, options?: { from?: number; timeout?: number }) => Promise<ReadonlyArray<string>>
  /** How many lines there have been. */
  readonly position: () => number
  /** All that they have printed. */
  readonly lines: () => ReadonlyArray<string>
  /** The last lines of it. */
  readonly tail: () => string
  /** Asks a process to end and waits until no generation is left. */
  readonly stop: (pid: number) => Promise<void>
  /** Ends whatever is left, by force. */
  readonly end: () => Promise<void>
}

export interface Start {
  /** Another program than Node. */
  readonly executable?: string
  readonly args: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
}

export const start = ({ args, environment, executable = process.execPath }: Start): Generations => {
  const child = spawn(executable, args, {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const lines: Array<string> = []
  const waiting = new Set<() => void>()
  const take = (line: string) => {
    lines.push(line)
    for (const check of waiting) check()
  }
  createInterface(child.stdout).on("line", take)
  createInterface(child.stderr).on("line", take)
  let open = true
  const closed = once(child, "close").then(() => {
    open = false
    for (const check of waiting) check()
  })
  const tail = () => lines.slice(-20).join("\n")

  const line: Generations["line"] = (pattern, { from = 0, timeout = 60_000 } = {}) =>
    new Promise((resolve, reject) => {
      let next = from
      const done = () => {
        clearTimeout(timer)
        waiting.delete(check)
      }
      const fail = (why: string) => {
        done()
        reject(new Error(`${why} while waiting for ${pattern}. It said:\n${tail()}`))
      }
      const check = () => {
        for (; next < lines.length; next++) {
          const found = pattern.exec(lines[next]!)
          if (found === null) continue
          done()
          return resolve(found.slice(1))
        }
        if (!open) fail("The program ended")
      }
      const timer = setTimeout(() => fail(`Nothing came for ${timeout} ms`), timeout)
      waiting.add(check)
      check()
    })

  const end = async () => {
    const started = lines.flatMap((line) => /Started process (\d+)/.exec(line)?.slice(1) ?? [])
    for (const pid of open ? [child.pid!, ...started.map(Number)] : []) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // It has ended.
      }
    }
    await closed
  }

  return {
    pid: child.pid!,
    line,
    position: () => lines.length,
    lines: () => lines,
    tail,
    stop: async (pid) => {
      process.kill(pid, "SIGTERM")
      const timer = setTimeout(() => void end(), 60_000)
      await closed
      clearTimeout(timer)
    },
    end
  }
}
