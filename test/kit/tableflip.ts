/**
 * The command `tableflip` in tests.
 */
import * as Effect from "effect/Effect"
import * as net from "node:net"
import type { Handle, StartOptions } from "./harness.ts"
import { bin, children, fixture, start } from "./harness.ts"

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

/** A port that was free a moment ago: what must be named before it is bound. */
export const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const probe = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address() as net.AddressInfo
    probe.close(() => resume(Effect.succeed(port)))
  })
})

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
export const soon = ["--warmup", "0.2"]
