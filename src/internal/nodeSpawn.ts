/**
 * Starting a process that inherits descriptors.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn as nodeSpawn } from "node:child_process"
import type * as childProcess from "node:child_process"
import type * as net from "node:net"
import type { Command, Process, SpawnRequest } from "../Env.ts"
import * as ExitStatus from "../ExitStatus.ts"
import { SpawnError } from "../TableflipError.ts"
import { checkDirectory } from "./nodeStart.ts"
import { readerOf } from "./nodeStreams.ts"

const readyIndex = 3
const namesIndex = 4
const firstInherited = 5

const spawnError = (command: Command, cause: unknown): SpawnError => {
  const code = (cause as NodeJS.ErrnoException).code
  const message = cause instanceof Error ? cause.message : String(cause)
  const of = (reason: SpawnError["reason"], detail: string) =>
    new SpawnError({ reason, command: command.executable, detail, cause })
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return of("NotFound", "there is no such program")
    case "EACCES":
    case "EPERM":
      return of("PermissionDenied", `it may not be run (${code})`)
    case "EMFILE":
    case "ENFILE":
      return of("Resources", `no descriptors are left (${code}); raise the limit of open files (ulimit -n)`)
    case "EAGAIN":
    case "ENOMEM":
      return of("Resources", `the system has no processes or memory left (${code})`)
    case "E2BIG":
      return of("TooBig", "its arguments and environment exceed what the system takes (E2BIG)")
    default:
      return of("Unknown", message)
  }
}

/**
 * All in one turn of the event loop: nothing that the child does can be missed, and a parent that is killed after this
 * leaves a child that knows its names.
 */
const start = (
  request: SpawnRequest,
  onExit: (status: ExitStatus.ExitStatus) => void
): Effect.Effect<childProcess.ChildProcess, SpawnError> =>
  Effect.async((resume) => {
    const fail = (cause: unknown) => resume(Effect.fail(spawnError(request.command, cause)))
    try {
      const child = nodeSpawn(request.command.executable, request.command.args, {
        cwd: request.command.directory,
        env: request.environment,
        stdio: [
          "inherit",
          "inherit",
          "inherit",
          "pipe",
          "pipe",
          ...request.inherit,
          ...Option.toArray(Option.as(request.state, "pipe" as const)),
          ...request.control ? ["pipe" as const] : []
        ]
      })
      // Some failures are thrown. Others are told by an event, and then there is no pid and there are no streams.
      child.on("error", fail)
      if (child.pid === undefined) return
      // "exit" and not "close": a grandchild may hold the output streams open for ever.
      child.once("exit", (code, signal) =>
        onExit(signal === null ? ExitStatus.Exited({ code: code ?? 0 }) : ExitStatus.Killed({ signal })))
      const names = child.stdio[namesIndex] as net.Socket
      // A child that is gone before it has read them shows by its exit.
      names.on("error", () => {})
      names.write(request.names)
      if (Option.isSome(request.state)) {
        const state = child.stdio[firstInherited + request.inherit.length] as net.Socket
        state.on("error", () => {})
        state.end(request.state.value)
        // A child that leaves it unread and open must not keep this process.
        state.unref()
      }
      resume(Effect.succeed(child))
    } catch (cause) {
      fail(cause)
    }
  })

const makeProcess = Effect.fnUntraced(function*(request: SpawnRequest) {
  const exit = yield* Deferred.make<ExitStatus.ExitStatus>()
  const child = yield* start(request, (status) => Deferred.unsafeDone(exit, Effect.succeed(status)))
  const readySocket = child.stdio[readyIndex] as net.Socket
  const namesSocket = child.stdio[namesIndex] as net.Socket
  const controlSocket = request.control ? child.stdio.at(-1) as net.Socket : undefined
  // A child that is gone shows by its exit.
  controlSocket?.on("error", () => {})
  controlSocket?.unref()
  const process: Process = {
    pid: child.pid!,
    exit: Deferred.await(exit),
    signal: (signal) => Effect.sync(() => child.kill(signal)),
    ready: yield* readerOf(readySocket),
    tell: (bytes) =>
      Effect.sync(() => {
        if (controlSocket === undefined || !controlSocket.writable) return false
        controlSocket.write(bytes)
        return true
      }),
    close: Effect.sync(() => {
      readySocket.destroy()
      namesSocket.destroy()
      controlSocket?.destroy()
    }),
    unref: Effect.sync(() => {
      child.unref()
      readySocket.destroy()
      namesSocket.unref()
    })
  }
  return process
})

/** Not interruptible: a process that has been started always gets an owner. */
export const spawn = (request: SpawnRequest): Effect.Effect<Process, SpawnError> =>
  Effect.uninterruptible(Effect.zipRight(checkDirectory(request.command), makeProcess(request)))
