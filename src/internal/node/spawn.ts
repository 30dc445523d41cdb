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
import * as fs from "node:fs"
import type * as net from "node:net"
import * as ExitStatus from "../../ExitStatus.ts"
import { SpawnError } from "../../TableflipError.ts"
import type { Command, Leading, Process, SpawnRequest } from "../system/process.ts"
import type { Layout, Slot } from "../wire/layout.ts"
import { layoutOf } from "../wire/layout.ts"
import { toChild } from "./channel.ts"
import type { Output } from "./output.ts"
import * as nodeOutput from "./output.ts"
import { checkDirectory } from "./start.ts"
import { checkRoom, readerOf, roomFor } from "./streams.ts"
import * as tree from "./tree.ts"

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
    case "ERR_ACCESS_DENIED":
      return of("PermissionDenied", "it may not be run: Node's permission model takes --allow-child-process for it")
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

const layoutFor = ({ channel = false, control, inherit, leading = [], state }: SpawnRequest): Layout =>
  layoutOf({ leading: leading.length, inherit: inherit.length, state: Option.isSome(state), control, channel })

// Node's "ignore" would leave a gap here, and Node closes inherited descriptors only up to the first gap.
const fillerFor = ({ leading = [] }: SpawnRequest) =>
  leading.includes("filler") ? fs.openSync("/dev/null", "r+") : undefined

const leadingStdio = (leading: Leading, filler: number | undefined): number | "pipe" | "ignore" =>
  leading === "notification" ? "pipe" : leading === "filler" ? filler ?? "ignore" : leading

const stdioOf = ({ inherit, leading = [] }: SpawnRequest, slot: Slot, filler: number | undefined) =>
  slot.what === "leading"
    ? leadingStdio(leading[slot.index]!, filler)
    : slot.what === "inherit"
    ? inherit[slot.index]!
    : slot.what === "channel"
    ? "ipc"
    : "pipe"

/**
 * All in one turn of the event loop: nothing that the child does can be missed, and a parent that is killed after this
 * leaves a child that knows its names.
 */
const start = (
  request: SpawnRequest,
  layout: Layout,
  output: Output,
  onExit: (status: ExitStatus.ExitStatus) => void
): Effect.Effect<childProcess.ChildProcess, SpawnError> =>
  Effect.async((resume) => {
    const fail = (cause: unknown) => resume(Effect.fail(spawnError(request.command, cause)))
    let filler: number | undefined
    try {
      filler = fillerFor(request)
      const slots = layout.slots.map((slot) => stdioOf(request, slot, filler))
      checkRoom(roomFor(slots.filter((slot) => slot === "pipe" || slot === "ipc").length))
      const child = nodeSpawn(request.command.executable, request.command.args, {
        cwd: request.command.directory,
        env: request.environment,
        detached: request.tree === "own",
        stdio: ["inherit", ...output.stdio, ...slots]
      })
      // Some failures are thrown. Others are told by an event, and then there is no pid and there are no streams.
      child.on("error", fail)
      if (child.pid === undefined) return
      // "exit" and not "close": a grandchild may hold the output streams open for ever.
      child.once("exit", (code, signal) =>
        onExit(signal === null ? ExitStatus.Exited({ code: code ?? 0 }) : ExitStatus.Killed({ signal })))
      const names = child.stdio[layout.names] as net.Socket
      // A child that is gone before it has read them shows by its exit.
      names.on("error", () => {})
      names.write(request.names)
      if (Option.isSome(request.state)) {
        const state = child.stdio[layout.state!] as net.Socket
        state.on("error", () => {})
        state.end(request.state.value)
        // A child that leaves it unread and open must not keep this process.
        state.unref()
      }
      resume(Effect.succeed(child))
    } catch (cause) {
      fail(cause)
    } finally {
      if (filler !== undefined) {
        fs.closeSync(filler)
      }
    }
  })

const makeProcess = Effect.fnUntraced(function*(request: SpawnRequest) {
  const layout = layoutFor(request)
  const exit = yield* Deferred.make<ExitStatus.ExitStatus>()
  const output = request.capture === true ? yield* nodeOutput.captured(request.linePrefix) : nodeOutput.inherited
  const child = yield* Effect.ensuring(
    start(request, layout, output, (status) => Deferred.unsafeDone(exit, Effect.succeed(status))),
    Effect.sync(output.started)
  )
  const readySocket = child.stdio[layout.ready] as net.Socket
  const controlSocket = layout.control === undefined ? undefined : child.stdio[layout.control] as net.Socket
  // A child that is gone shows by its exit.
  controlSocket?.on("error", () => {})
  controlSocket?.unref()
  const namesSocket = child.stdio[layout.names] as net.Socket
  const channel = layout.channel === undefined ? Option.none() : toChild(child)
  const notificationIndex = request.leading?.indexOf("notification") ?? -1
  const notificationSocket = notificationIndex < 0
    ? undefined
    : child.stdio[layout.leading[notificationIndex]!] as net.Socket
  const process: Process = {
    pid: child.pid!,
    exit: Deferred.await(exit),
    signal: (signal) =>
      Effect.sync(() =>
        signal === "SIGKILL" && request.tree !== undefined ? tree.kill(child, request.tree) : child.kill(signal)
      ),
    signalLeft: (signal) => Effect.sync(() => request.tree === "own" ? tree.signalSession(child.pid!, signal) : []),
    ready: yield* readerOf(readySocket),
    answers: controlSocket === undefined ? Option.none() : Option.some(yield* readerOf(controlSocket)),
    tell: (bytes) =>
      Effect.sync(() => {
        if (controlSocket === undefined || !controlSocket.writable) return false
        controlSocket.write(bytes)
        return true
      }),
    notification: notificationSocket === undefined ? Option.none() : Option.some(yield* readerOf(notificationSocket)),
    channel,
    lastLines: output.lastLines,
    outputEnd: output.end,
    close: Effect.sync(() => {
      readySocket.destroy()
      namesSocket.destroy()
      controlSocket?.destroy()
      notificationSocket?.destroy()
      if (Option.isSome(channel)) channel.value.close()
    }),
    unref: Effect.sync(() => {
      child.unref()
      readySocket.destroy()
      notificationSocket?.destroy()
      namesSocket.unref()
    })
  }
  return process
})

/** Not interruptible: a process that has been started always gets an owner. */
export const spawn = (request: SpawnRequest): Effect.Effect<Process, SpawnError> =>
  Effect.uninterruptible(Effect.zipRight(checkDirectory(request.command), makeProcess(request)))
