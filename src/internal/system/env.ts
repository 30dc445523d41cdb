/**
 * The seam between this library and the operating system: all that an upgrade needs of it, behind one service.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as dgram from "node:dgram"
import type * as net from "node:net"
import type { Address, PortAddress } from "../../Address.ts"
import type { DescriptorError, ListenError, SpawnError } from "../../TableflipError.ts"
import type { Channel } from "./channel.ts"
import type { Files } from "./file.ts"
import type { ProbeOutcome, ProbeTarget } from "./probe.ts"
import type { Command, Process, ProgramQuery, SpawnRequest } from "./process.ts"
import type {
  BoundListener,
  BoundPacket,
  DescriptorKind,
  QueueingSocket,
  SharedSocket,
  SocketDamage
} from "./socket.ts"
import type { ByteReader } from "./stream.ts"

/**
 * What has become of the processes that a pool had left over.
 */
export interface OrphansEnded {
  /** Whether there were any. */
  readonly found: boolean
  /** Ids of those that had to be killed. */
  readonly killed: ReadonlyArray<number>
}

declare const TypeId: unique symbol

/** What an effect asks for that needs an operating system, be it a simulated one. */
export interface Env {
  readonly [TypeId]: typeof TypeId
}

/** The operating system, as this process sees it. */
export interface System {
  /** Id of this process. */
  readonly pid: number
  /** How many processes can compute at the same time here, as far as control groups let them. */
  readonly availableParallelism: Effect.Effect<number>
  /** Bytes that nobody can guess. */
  readonly randomBytes: (size: number) => Effect.Effect<Uint8Array>
  /** Why this process cannot be upgraded; none where it can. */
  readonly unsupported: Option.Option<string>
  /** What ends with this process and takes all that it has started along; none where a child outlives it. */
  readonly endsWithThis: Effect.Effect<Option.Option<string>>
  /** The directory this process was started in, as it was typed: symbolic links are kept. */
  readonly directory: string
  /** The program that this process runs: Node, as it was typed if it was typed with its directory. */
  readonly executable: string
  /**
   * The command that starts this process again in the way it was started. One that was started with an inspector gives
   * each of those another port.
   */
  readonly start: Effect.Effect<Command, SpawnError>
  /** The environment in which this process was started, whatever it has changed since. */
  readonly startVariables: Effect.Effect<Readonly<Record<string, string | undefined>>>
  /** The environment of this process at this moment. */
  readonly variables: Effect.Effect<Readonly<Record<string, string | undefined>>>
  /** Removes variables, so that the app's own children do not see them. */
  readonly removeVariables: (names: ReadonlyArray<string>) => Effect.Effect<void>
  /** What process listings show for this process, after the name of its program. Systems cut it to the length of the original command line. */
  readonly setTitle: (title: string) => Effect.Effect<void>
  /** The code with which this process ends, whoever ends it. */
  readonly setExitCode: (code: number) => Effect.Effect<void>
  /**
   * Ends this process after that time, if it still lives then; it is not kept alive by that. First the words are said,
   * with the names of what was open (`process.getActiveResourcesInfo`).
   */
  readonly endWithin: (
    duration: Duration.Duration,
    lastWords: (open: ReadonlyArray<string>) => Effect.Effect<void>
  ) => Effect.Effect<void>
  /** Whether Node's inspector is open, so that a debugger may hold this process. */
  readonly debugged: Effect.Effect<boolean>
  /** How many bytes of memory this process has in use. */
  readonly residentMemory: Effect.Effect<number>
  /** What tells this process from every other that has, or will have, its id; none where the system does not say. */
  readonly mark: Effect.Effect<string | undefined>
  /** Ends what a pool whose primary is gone has left over at an address. */
  readonly endOrphans: (address: Address) => Effect.Effect<OrphansEnded>
  /** Takes the one place that a process has for an upgrader; none if it was free, else who has it. */
  readonly claim: (holder: string) => Effect.Effect<Option.Option<string>, never, Scope.Scope>
  /** Keeps a SIGTERM or SIGINT that comes twice, as from one Ctrl-C, from ending this process in the middle of its drain. */
  readonly holdStopSignals: Effect.Effect<void, never, Scope.Scope>
  /** Deliveries of a signal from now on. */
  readonly signals: (signal: NodeJS.Signals) => Effect.Effect<Queue.Dequeue<NodeJS.Signals>, never, Scope.Scope>
  /** Limits of open files: the soft one that this process was started with, which Node raises, and the hard one, if they can be told. */
  readonly openFiles: Effect.Effect<{ readonly soft: Option.Option<number>; readonly hard: Option.Option<number> }>
  /** Finds a program as a shell would. Symbolic links are kept. */
  readonly findProgram: (query: ProgramQuery) => Effect.Effect<string, SpawnError>
  /** What to put before a command line whose process is to get a signal when this one dies; none where that cannot be. */
  readonly deathSignalPrefix: (signal: NodeJS.Signals) => Effect.Effect<Option.Option<ReadonlyArray<string>>>
  /**
   * Tells a service manager of the kind of systemd how this process does (`READY=1`): by its socket, if that is open and
   * connected here, else as `NOTIFY_SOCKET` says. What is told is told in order, also if nobody waits for it.
   */
  readonly notifier: (
    socket: Option.Option<number>
  ) => Effect.Effect<(state: ReadonlyArray<string>) => Effect.Effect<void>, never, Scope.Scope>
  readonly spawn: (request: SpawnRequest) => Effect.Effect<Process, SpawnError>
  /**
   * Takes the channel to the process that has started this one, which Node has opened under this number, so that the app
   * does not find it as `process.send`; none if there is no such channel.
   */
  readonly takeChannel: (descriptor: number) => Effect.Effect<Option.Option<Channel>>
  /** Opens an inherited stream for reading. It does not keep this process alive. */
  readonly reader: (descriptor: number) => Effect.Effect<ByteReader, DescriptorError, Scope.Scope>
  /** Writes to an inherited stream and closes it. Tells whether the other side was there to take it. */
  readonly writeAndClose: (descriptor: number, bytes: Uint8Array) => Effect.Effect<boolean>
  /** Writes a few bytes to an inherited stream. Tells whether they could be written. */
  readonly write: (descriptor: number, bytes: Uint8Array) => Effect.Effect<boolean>
  /** Closes an inherited descriptor that nothing else owns. */
  readonly closeDescriptor: (descriptor: number) => Effect.Effect<void>
  /** Looks up the host of an address, which may take any time. */
  readonly resolve: <A extends Address>(address: A) => Effect.Effect<A, ListenError>
  readonly bind: (address: Address) => Effect.Effect<BoundListener, ListenError>
  /** Takes over an inherited listener. On failure the descriptor is closed. */
  readonly adopt: (address: Address, descriptor: number) => Effect.Effect<BoundListener, ListenError>
  /**
   * Has the system queue connections on sockets that this process does not accept from: whoever inherits them finds them
   * listening, and clients wait, rather than being refused, while nobody accepts.
   */
  readonly queueConnections: (sockets: ReadonlyArray<QueueingSocket>) => Effect.Effect<void, ListenError>
  /**
   * For sockets that are about to be closed, while other processes accept from them: has the system queue hardly anybody
   * else, and completes when those who wait have been accepted, or nobody is for a second.
   */
  readonly emptyQueues: (listeners: ReadonlyArray<BoundListener>) => Effect.Effect<void>
  /**
   * Takes care that these listening sockets stay what they are: has each look at them repair what can be repaired, and
   * tell what it has found. A look that `connects` finds more, and makes a connection on which nothing comes.
   */
  readonly guardSockets: (
    sockets: ReadonlyArray<SharedSocket>
  ) => Effect.Effect<
    (options: { readonly connects: boolean }) => Effect.Effect<ReadonlyArray<SocketDamage>>,
    never,
    Scope.Scope
  >
  readonly bindPacket: (address: PortAddress) => Effect.Effect<BoundPacket, ListenError>
  /** Takes over an inherited UDP socket. On failure the descriptor is closed. */
  readonly adoptPacket: (address: PortAddress, descriptor: number) => Effect.Effect<BoundPacket, ListenError>
  /** The socket of a server that the app has bound by itself. */
  readonly borrowListener: (server: net.Server) => BoundListener
  /** The descriptor of a datagram socket that the app has bound by itself. */
  readonly borrowPacket: (socket: dgram.Socket) => BoundPacket
  /** Opens an inherited connection. It reads nothing before the app does. */
  readonly adoptConnection: (name: string, descriptor: number) => Effect.Effect<net.Socket, DescriptorError>
  /** Reads no further from a connection; what has not been read is left to the process that it is handed to. */
  readonly stopReading: (socket: net.Socket) => Effect.Effect<void>
  /** Goes on reading. */
  readonly resumeReading: (socket: net.Socket) => Effect.Effect<void>
  /** Completes when the system has taken all that was written to a connection so far, or it has been closed. */
  readonly flushed: (socket: net.Socket) => Effect.Effect<void>
  /** The descriptor of a connection; none once it has been closed. */
  readonly connectionDescriptor: (socket: net.Socket) => Option.Option<number>
  /**
   * Whether a descriptor is one end of a stream from another process. It is not if it is closed or a file, nor if it is
   * one of the pipes that Node made for itself.
   */
  readonly isStream: (descriptor: number) => Effect.Effect<boolean>
  /** What a descriptor is; none if it is not open. */
  readonly kindOf: (descriptor: number) => Effect.Effect<Option.Option<DescriptorKind>>
  /** Asks whether a process, or a child of it, serves; none where the system does not tell who has accepted. */
  readonly probe: Option.Option<(target: ProbeTarget) => Effect.Effect<ProbeOutcome>>
  /** What tells a file that is open from another that has come to its number; none if nothing is open there. */
  readonly fileIdentity: (descriptor: number) => Option.Option<string>
  /** Where this process, and nobody else, listens besides on these descriptors, as far as the system tells. */
  readonly listensBesides: (descriptors: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Address>>
  /** Where an inherited socket is bound, if the system tells. */
  readonly addressOf: (descriptor: number) => Effect.Effect<Option.Option<Address>>
  /**
   * How a process stands to its terminal: one in the foreground hears Ctrl-C without anybody's help. `none` if it has no
   * terminal, or has it no more.
   */
  readonly terminalOf: (pid: number) => Effect.Effect<"foreground" | "background" | "none">
  /** Whether a Unix path is there and is a socket. */
  readonly isSocket: (path: string) => Effect.Effect<boolean>
  /** Whether two paths lead to one file. */
  readonly isSameFile: (one: string, other: string) => Effect.Effect<boolean>
  readonly files: Files
}

export const Env: Context.Tag<Env, System> = Context.GenericTag("effect-tableflip/Env")
