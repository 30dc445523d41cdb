/** Real processes for tests: started, watched by the lines they print, and ended for sure. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import type { StdioOptions } from "node:child_process"
import { randomUUID } from "node:crypto"
import { children, isAlive, pids, readOrEmpty } from "./proc.ts"
import { eventually, settled } from "./waiting.ts"

export interface StartOptions {
  readonly args?: ReadonlyArray<string>
  readonly nodeFlags?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** What the fixtures find in `APP`. */
  readonly app?: unknown
  /** Another program than Node. */
  readonly executable?: string
  readonly argv0?: string
  readonly detached?: boolean
  /** From descriptor 3 on. */
  readonly extra?: ReadonlyArray<number | "pipe" | "ignore">
  readonly stdin?: string
}

export interface Handle {
  readonly pid: number
  /** All that this process and its successors have printed. */
  readonly lines: () => ReadonlyArray<string>
  readonly waitFor: (pattern: RegExp, within?: Duration.DurationInput) => Effect.Effect<RegExpExecArray>
  readonly count: (pattern: RegExp) => number
  /** Waits until as many such lines have been printed. */
  readonly waitForCount: (pattern: RegExp, count: number) => Effect.Effect<void>
  readonly up: (generation: number) => Effect.Effect<Up>
  /** How this process, not its successors, has ended. */
  readonly exit: Effect.Effect<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Every process alive that descends from this one, this one too: they share a variable that nobody else has. */
  readonly alive: () => ReadonlyArray<number>
  readonly stdio: (index: number) => NodeJS.ReadWriteStream
  readonly dump: () => string
}

export interface Up {
  readonly pid: number
  readonly generation: number
  readonly port: number
  readonly hasParent: boolean
}

const parseUp = (match: RegExpExecArray): Up => ({
  pid: Number(match[1]),
  generation: Number(match[2]),
  port: Number(match[3]),
  hasParent: match[4] === "true"
})

const withMarker = (marker: string): ReadonlyArray<number> =>
  pids().filter((pid) => isAlive(pid) && readOrEmpty(`/proc/${pid}/environ`).includes(marker))

/** Whether there was nothing left to kill. */
const killAll = (marker: string): boolean => {
  const left = withMarker(marker)
  for (const pid of left) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It ended in between.
    }
  }
  return left.length === 0
}

export const start = (
  script: string | undefined,
  options: StartOptions = {}
): Effect.Effect<Handle, never, Scope.Scope> =>
  Effect.gen(function*() {
    const marker = `TEST_MARKER=${randomUUID()}`
    const exit = yield* Deferred.make<{ code: number | null; signal: NodeJS.Signals | null }>()
    // With certificates to load, newer releases of Node have the file open for a while after the start.
    const { NODE_EXTRA_CA_CERTS: _, NODE_OPTIONS: __, ...own } = process.env
    const stdio: StdioOptions = [
      options.stdin === undefined ? "ignore" : "pipe",
      "pipe",
      "pipe",
      ...options.extra ?? []
    ]
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          options.executable ?? process.execPath,
          [...options.nodeFlags ?? [], ...script === undefined ? [] : [script], ...options.args ?? []],
          {
            stdio,
            detached: options.detached === true,
            ...options.cwd === undefined ? {} : { cwd: options.cwd },
            ...options.argv0 === undefined ? {} : { argv0: options.argv0 },
            env: {
              ...own,
              PWD: options.cwd ?? process.cwd(),
              TEST_MARKER: marker.slice(marker.indexOf("=") + 1),
              ...options.app === undefined ? {} : { APP: JSON.stringify(options.app) },
              ...options.env
            }
          }
        )
      ),
      (child) =>
        Effect.gen(function*() {
          yield* eventually("the end of every process of this test", () => killAll(marker))
          child.stdout?.destroy()
          child.stderr?.destroy()
          for (const stream of child.stdio) (stream as { destroy?: () => void } | null)?.destroy?.()
        })
    )
    child.on("error", () => {})
    for (const stream of child.stdio) stream?.on("error", () => {})
    child.once("exit", (code, signal) => Deferred.unsafeDone(exit, Effect.succeed({ code, signal })))
    if (options.stdin !== undefined) child.stdin?.end(options.stdin)
    const lines: Array<string> = []
    const collect = (stream: NodeJS.ReadableStream | null) => {
      let rest = ""
      stream?.setEncoding("utf8")
      stream?.on("data", (text: string) => {
        const parts = (rest + text).split("\n")
        rest = parts.pop() ?? ""
        lines.push(...parts)
      })
    }
    collect(child.stdout)
    collect(child.stderr)
    const dump = () => lines.map((line) => `  | ${line}`).join("\n")
    const waitFor: Handle["waitFor"] = (pattern, within) =>
      eventually(`a line like ${pattern}`, () => {
        for (const line of lines) {
          const match = pattern.exec(line)
          if (match !== null) return match
        }
        return undefined
      }, { ...within === undefined ? {} : { within }, seen: dump })
    return {
      pid: child.pid!,
      lines: () => lines,
      waitFor,
      count: (pattern) => lines.filter((line) => pattern.test(line)).length,
      waitForCount: (pattern, count) =>
        Effect.asVoid(eventually(
          `${count} lines like ${pattern}`,
          () => lines.filter((line) => pattern.test(line)).length >= count,
          { seen: dump }
        )),
      up: (generation) =>
        Effect.map(waitFor(new RegExp(`^UP (\\d+) (${generation}) (\\d+) (true|false)`), "60 seconds"), parseUp),
      exit: Deferred.await(exit).pipe(
        Effect.tap(settled),
        Effect.timeoutFailCause({
          duration: "15 seconds",
          onTimeout: () => Cause.die(new Error(`process ${child.pid} has not ended\n${dump()}`))
        })
      ),
      alive: () => withMarker(marker),
      stdio: (index) => child.stdio[index] as unknown as NodeJS.ReadWriteStream,
      dump
    }
  })

/** Signals a process that this test has started. */
export const signal = (pid: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.sync(() => void process.kill(pid, name))

// oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
const sorted = (pids: ReadonlyArray<number>): string => String([...pids].sort())

/** Nothing is left but these processes, neither of ours nor as a zombie of theirs. */
export const onlyAlive = (handle: Handle, expected: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.asVoid(eventually(
    `only ${expected.join(", ")} to be alive`,
    () =>
      sorted(handle.alive()) === sorted(expected) &&
      expected.every((pid) => children(pid).every(({ pid }) => expected.includes(pid))),
    { seen: () => `alive: ${handle.alive().join(", ")}\n${handle.dump()}` }
  ))
