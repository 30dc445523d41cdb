/**
 * A machine made of nothing: processes, pipes, sockets and files in memory. It knows just what an upgrade can tell.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { SpawnError } from "../../TableflipError.ts"
import { end as endStream, offerUnsafe, type Stream, stream } from "./stream.ts"

/** One direction of a stream between two processes. */
export interface Pipe {
  readonly bytes: Stream<Uint8Array>
  /** False once nobody can read it any more. */
  read: boolean
}

/** An end of a pipe. */
export interface End {
  readonly _tag: "ReadEnd" | "WriteEnd"
  readonly pipe: Pipe
  /** What goes the other way, if this is one end of a pair of sockets. */
  readonly answers?: Pipe
}

/** A bound socket, shared by every process that has a descriptor of it. */
export interface Socket {
  readonly _tag: "Socket"
  readonly key: string
  readonly port: number
  /** Ids of the processes that accept on it. */
  readonly accepting: Set<number>
}

/** Anything else that has a descriptor. */
export interface Other {
  readonly _tag: "Other"
}

export type Open = End | Socket | Other

export interface SimulatedProcess {
  readonly pid: number
  readonly variables: Record<string, string | undefined>
  readonly descriptors: Map<number, Open>
  readonly handlers: Map<NodeJS.Signals, Set<Queue.Enqueue<NodeJS.Signals>>>
  /** Signals as they arrive. */
  readonly signalled: Stream<NodeJS.Signals>
  readonly exit: Deferred.Deferred<ExitStatus>
  /** Whatever runs inside this process. */
  readonly scope: Scope.CloseableScope
  ended: boolean
  /** Takes no notice of signals that can be ignored. */
  silent: boolean
  /** Who has the place of its upgrader. */
  holder: string | undefined
}

export interface Kernel {
  /** A number for each open thing that anybody has asked for. */
  readonly identities: Map<Open, string>
  readonly files: Map<string, string>
  /** Who has written each file, and whether it is held still. */
  readonly fileHolders: Map<string, { readonly process: SimulatedProcess; readonly holds: boolean }>
  readonly sockets: Set<Socket>
  readonly processes: Set<SimulatedProcess>
  /** What a service manager was told. */
  readonly notifications: Array<{ readonly pid: number; readonly state: ReadonlyArray<string> }>
  /** Makes every start of a process fail. */
  spawnError: SpawnError | undefined
  /** Makes every change of a file fail. */
  fileError: unknown
  freePid: number
  freeSecret: number
  freePort: number
}

export const makeKernel = (): Kernel => ({
  identities: new Map(),
  files: new Map(),
  fileHolders: new Map(),
  sockets: new Set(),
  processes: new Set(),
  notifications: [],
  spawnError: undefined,
  fileError: undefined,
  freePid: 100,
  freeSecret: 1,
  freePort: 40_000
})

export const makePipe: Effect.Effect<Pipe> = Effect.map(stream<Uint8Array>(), (bytes) => ({ bytes, read: true }))

export const makeProcess = Effect.fnUntraced(function*(
  kernel: Kernel,
  variables: Readonly<Record<string, string | undefined>>
) {
  const process: SimulatedProcess = {
    pid: kernel.freePid++,
    variables: { ...variables },
    descriptors: new Map(),
    handlers: new Map(),
    signalled: yield* stream<NodeJS.Signals>(),
    exit: yield* Deferred.make<ExitStatus>(),
    scope: yield* Scope.make(),
    ended: false,
    silent: false,
    holder: undefined
  }
  kernel.processes.add(process)
  return process
})

/** Gives the lowest free number from 3, as open(2) does. */
export const allocate = (process: SimulatedProcess, open: Open): number => {
  let descriptor = 3
  while (process.descriptors.has(descriptor)) descriptor += 1
  process.descriptors.set(descriptor, open)
  return descriptor
}

export const identityOf = (kernel: Kernel, open: Open): string => {
  const identity = kernel.identities.get(open) ?? String(kernel.identities.size)
  kernel.identities.set(open, identity)
  return identity
}

const isSame = (one: Open, other: Open): boolean =>
  one === other || ("pipe" in one && "pipe" in other && one._tag === other._tag && one.pipe === other.pipe)

export const close = (kernel: Kernel, process: SimulatedProcess, descriptor: number): void => {
  const open = process.descriptors.get(descriptor)
  if (open === undefined) return
  process.descriptors.delete(descriptor)
  if (open._tag === "Socket" && ![...process.descriptors.values()].includes(open)) open.accepting.delete(process.pid)
  for (const { descriptors } of kernel.processes) {
    for (const held of descriptors.values()) {
      if (isSame(held, open)) return
    }
  }
  switch (open._tag) {
    case "WriteEnd":
      Effect.runSync(endStream(open.pipe.bytes))
      return
    case "ReadEnd":
      open.pipe.read = false
      if (open.answers !== undefined) Effect.runSync(endStream(open.answers.bytes))
      return
    case "Socket":
      kernel.sockets.delete(open)
  }
}

/** Ends a process as the system would: without a word to what runs in it, and everything it had open is closed. */
export const end = (kernel: Kernel, process: SimulatedProcess, status: ExitStatus): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (process.ended) return Effect.void
    process.ended = true
    kernel.processes.delete(process)
    for (const descriptor of process.descriptors.keys()) close(kernel, process, descriptor)
    return Deferred.succeed(process.exit, status).pipe(
      Effect.zipRight(endStream(process.signalled))
    )
  })

export const send = (
  kernel: Kernel,
  process: SimulatedProcess,
  signal: NodeJS.Signals,
  killed: (signal: NodeJS.Signals) => ExitStatus
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    if (process.ended) return Effect.succeed(false)
    offerUnsafe(process.signalled, signal)
    const handlers = process.handlers.get(signal)
    if (handlers !== undefined && handlers.size > 0) {
      for (const handler of handlers) handler.unsafeOffer(signal)
      return Effect.succeed(true)
    }
    return process.silent && signal !== "SIGKILL"
      ? Effect.succeed(true)
      : Effect.as(end(kernel, process, killed(signal)), true)
  })
