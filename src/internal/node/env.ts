/**
 * This process on Node, as the rest of the library asks for it.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Runtime from "effect/Runtime"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { isMainThread } from "node:worker_threads"
import { fromResult } from "../seam.ts"
import type { System } from "../system/env.ts"
import { longestTimer } from "../timer.ts"
import { fromParent } from "./channel.ts"
import { cpuQuota, withQuota } from "./cpuQuota.ts"
import { files } from "./files.ts"
import { guardSockets } from "./guard.ts"
import { isSameFile } from "./identity.ts"
import { endsWithThis } from "./init.ts"
import { withOwnInspector } from "./inspector.ts"
import { connectionDescriptor, missingFunction, resumeReading, runtimeOf, stopReading } from "./internals.ts"
import { openFiles } from "./limits.ts"
import { listensBesides } from "./listening.ts"
import { notifier } from "./notifier.ts"
import { endOrphans, ownMark } from "./orphans.ts"
import * as packets from "./packets.ts"
import * as proc from "./proc.ts"
import * as procProcesses from "./procProcesses.ts"
import * as procSockets from "./procSockets.ts"
import { deathSignalPrefix, findProgram } from "./program.ts"
import { emptyQueues, queueConnections } from "./queue.ts"
import { resolve, resolvedPath } from "./socketAddress.ts"
import * as sockets from "./sockets.ts"
import { spawn } from "./spawn.ts"
import { startCommand, startDirectory, started, startExecutable } from "./start.ts"
import { startVariables } from "./startVariables.ts"
import * as stopSignals from "./stopSignals.ts"
import * as streams from "./streams.ts"

const unsupported: Option.Option<string> = process.platform === "win32"
  ? Option.some("Windows does not pass sockets to another process by descriptor")
  : !isMainThread
  ? Option.some("a worker thread has no signals and no process of its own")
  : Option.map(missingFunction, (name) => `${runtimeOf(process.versions)} lacks ${name}; it takes Node, 20.19 or later`)

// On the process itself, so that two copies of this package in one process see each other.
const holderKey = Symbol.for("effect-tableflip/Upgrader/holder")
const holders = process as unknown as Record<symbol, string | undefined>

const claim = (holder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const first = Option.fromNullable(holders[holderKey])
      if (Option.isNone(first)) holders[holderKey] = holder
      return first
    }),
    (first) =>
      Effect.sync(() => {
        if (Option.isNone(first)) delete holders[holderKey]
      })
  )

const signals = (signal: NodeJS.Signals) =>
  Effect.gen(function*() {
    const deliveries = yield* Effect.acquireRelease(Queue.unbounded<NodeJS.Signals>(), Queue.shutdown)
    const deliver = () => void deliveries.unsafeOffer(signal)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on(signal, deliver)),
      () => Effect.sync(() => process.off(signal, deliver))
    )
    return deliveries as Queue.Dequeue<NodeJS.Signals>
  })

/** Not imported: a Node without the inspector has no such module, and a process that is never asked need not load it. */
const isDebugged = (): boolean => process.getBuiltinModule?.("node:inspector")?.url() !== undefined

export const make: Effect.Effect<System> = Effect.sync(() => {
  const directory = startDirectory()
  const executable = startExecutable(directory)
  const how = started()
  const start = startCommand(directory, executable, how)
  const inspected = withOwnInspector({
    execArgv: how.isSingleExecutable ? [] : how.execArgv,
    options: how.isSingleExecutable ? "" : process.env["NODE_OPTIONS"] ?? "",
    port: process.debugPort
  })
  const asStarted = startVariables()
  return {
    pid: process.pid,
    availableParallelism: Effect.sync(() => withQuota(os.availableParallelism(), cpuQuota(proc.read))),
    // Loaded by those who need it: it costs every start otherwise.
    randomBytes: (size) =>
      Effect.map(Effect.promise(() => import("node:crypto")), (crypto) => crypto.randomBytes(size)),
    unsupported,
    endsWithThis: Effect.sync(() => endsWithThis(process.pid, process.ppid)),
    directory,
    executable,
    start: Effect.suspend(() => Effect.map(fromResult(start), inspected)),
    openFiles: Effect.sync(openFiles),
    startVariables: Effect.succeed(asStarted),
    variables: Effect.sync(() => process.env),
    removeVariables: (names) => Effect.sync(() => names.forEach((name) => delete process.env[name])),
    setTitle: (title) =>
      Effect.sync(() => {
        process.title = `${path.basename(process.argv[1] ?? process.execPath)}: ${title}`
      }),
    // Only here does it hold against the explicit `process.exit(0)` of NodeRuntime.runMain.
    setExitCode: (code) =>
      Effect.sync(() =>
        process.once("exit", () => {
          process.exitCode = code
        })
      ),
    endWithin: (duration, lastWords) =>
      Effect.map(Effect.runtime(), (runtime) => {
        const end = () => {
          // A logger of the app that throws must not keep this process.
          Runtime.runSyncExit(runtime)(lastWords(process.getActiveResourcesInfo()))
          process.exit()
        }
        const millis = Duration.toMillis(duration)
        if (millis !== Number.POSITIVE_INFINITY) setTimeout(end, Math.min(millis, longestTimer)).unref()
      }),
    debugged: Effect.sync(isDebugged),
    mark: Effect.sync(ownMark),
    endOrphans: (address) => endOrphans(resolvedPath(address, directory)),
    residentMemory: Effect.sync(() => process.memoryUsage.rss()),
    claim,
    holdStopSignals: stopSignals.hold,
    signals,
    findProgram,
    deathSignalPrefix,
    notifier,
    spawn,
    takeChannel: (descriptor) => Effect.sync(() => fromParent(descriptor)),
    reader: streams.openReader,
    writeAndClose: (descriptor, bytes) => Effect.sync(() => streams.writeAndClose(descriptor, bytes)),
    write: (descriptor, bytes) => Effect.sync(() => streams.write(descriptor, bytes)),
    closeDescriptor: (descriptor) => Effect.sync(() => streams.closeDescriptor(descriptor)),
    resolve,
    bind: (address) => sockets.bind(resolvedPath(address, directory)),
    adopt: (address, descriptor) => sockets.adopt(resolvedPath(address, directory), descriptor),
    queueConnections,
    emptyQueues,
    guardSockets,
    bindPacket: packets.bindPacket,
    adoptPacket: packets.adoptPacket,
    borrowListener: sockets.borrowListener,
    borrowPacket: packets.borrowPacket,
    adoptConnection: packets.adoptConnection,
    flushed: packets.flushed,
    connectionDescriptor,
    stopReading: (socket) => Effect.sync(() => stopReading(socket)),
    resumeReading: (socket) => Effect.sync(() => resumeReading(socket)),
    isStream: (descriptor) => Effect.sync(() => streams.isStream(descriptor)),
    kindOf: (descriptor) => Effect.sync(() => Option.fromNullable(procSockets.kindOf(descriptor))),
    // Loaded by those who need it: HTTP and TLS cost every start otherwise.
    probe: proc.isThere()
      ? Option.some((target) =>
        Effect.flatMap(Effect.promise(() => import("./probe.ts")), (module) => module.probe(target))
      )
      : Option.none(),
    fileIdentity: streams.fileIdentity,
    listensBesides,
    addressOf: (descriptor) => Effect.sync(() => Option.fromNullable(procSockets.addressOf(descriptor))),
    terminalOf: (pid) => Effect.sync(() => procProcesses.terminalOf(pid)),
    isSocket: (file) =>
      Effect.sync(() => fs.statSync(path.resolve(directory, file), { throwIfNoEntry: false })?.isSocket() === true),
    isSameFile: (one, other) =>
      Effect.sync(() => isSameFile(path.resolve(directory, one), path.resolve(directory, other))),
    files
  }
})
