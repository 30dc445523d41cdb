/**
 * The command `tableflip` in tests.
 */
import * as Effect from "effect/Effect"
import { bin, fixture } from "./paths.ts"
import { children } from "./proc.ts"
import type { Handle, StartOptions } from "./processes.ts"
import { start } from "./processes.ts"

/** A server for LISTEN_FDS that does what variables say. */
export const server = [process.execPath, fixture("commands/server.mjs")]

export interface RunOptions extends StartOptions {
  readonly options?: ReadonlyArray<string>
  readonly command?: ReadonlyArray<string>
}

const withServer = new WeakSet<Handle>()

/** Starts `tableflip run options -- command`. */
export const run = ({ command = server, options = [], ...rest }: RunOptions) =>
  Effect.tap(
    start(bin, { ...rest, args: ["run", ...options, "--", ...command] }),
    (handle) => Effect.sync(() => command[1] === server[1] && withServer.add(handle))
  )

/**
 * The process of a generation, once tableflip says that it is ready, and once it has set its handlers: a warm-up may be
 * over before, on a machine that is busy with something else.
 */
export const ready = (handle: Handle, generation: number) =>
  handle.waitFor(new RegExp(`generation ${generation}: process (\\d+) is ready`), "30 seconds").pipe(
    Effect.map((match) => Number(match[1])),
    Effect.tap((pid) => withServer.has(handle) ? handle.waitFor(new RegExp(`^UP ${pid} `), "30 seconds") : Effect.void)
  )

/** The processes that tableflip has started and that live. */
export const commands = (handle: Handle): ReadonlyArray<number> =>
  children(handle.pid).filter(({ state }) => state !== "Z").map(({ pid }) => pid)

/** Has each generation take this long to be taken for ready, where the test has no better sign. */
export const soon = ["--warmup", "0.5"]
