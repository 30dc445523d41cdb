/**
 * The seam between this library and the operating system. Everything impure that an upgrade needs goes through it, so
 * that tests can put a simulated machine in its place (`effect-tableflip/Testing`).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as dgram from "node:dgram"
import type * as net from "node:net"
import type { Address, PortAddress } from "./Address.ts"
import type { ExitStatus } from "./ExitStatus.ts"
import * as internal from "./internal/node/env.ts"
import type { DescriptorError, ListenError, SpawnError } from "./TableflipError.ts"

/**
 * A program, its arguments and the directory it starts in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Command {
  readonly executable: string
  readonly args: ReadonlyArray<string>
  readonly directory: string
}

/**
 * Which program is meant by a name.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProgramQuery {
  /** A name to be searched for, or a path, which has a slash in it. */
  readonly name: string
  /** Where a relative path begins. */
  readonly directory: string
  /** The value of `PATH`. */
  readonly searchPath: string | undefined
}

/**
 * The reading end of a stream of bytes.
 *
 * @since 0.1.0
 * @category models
 */
export interface ByteReader {
  /** The next bytes; none at the end of the stream, which a broken stream counts as. One reader at a time. */
  readonly read: Effect.Effect<Option.Option<Uint8Array>>
  /** Throws away what comes from now on, so that a process that says more than it was asked for neither waits nor dies of it. */
  readonly discard: Effect.Effect<void>
  /** The open descriptor, to pass on to a child; none once it has been closed. */
  readonly descriptor: Effect.Effect<Option.Option<number>>
}

/**
 * What a child gets before the streams of this library: a descriptor of this process, the writing end of a stream that
 * this process reads (`notification`, one at most), or `/dev/null` to fill a gap.
 *
 * @since 0.1.0
 * @category models
 */
export type Leading = number | "notification" | "filler"

/**
 * What to start, and what it inherits besides standard input, output and error.
 *
 * @since 0.1.0
 * @category models
 */
export interface SpawnRequest {
  readonly command: Command
  readonly environment: Readonly<Record<string, string>>
  /** What the child finds on the stream of names. */
  readonly names: Uint8Array
  /** What it finds on a further stream, whose descriptor follows those that are inherited. */
  readonly state: Option.Option<Uint8Array>
  /** Whether one more stream follows, on which this process goes on to tell things. */
  readonly control: boolean
  /**
   * Whether a channel follows, on which connections can go to the child as long as both live. Only for a child that is
   * Node, which takes it for its own at its start.
   */
  readonly channel?: boolean | undefined
  /**
   * Descriptors of this process. In the child the ready stream is descriptor 3, the stream of names is 4, and these
   * follow from 5 without a gap: Node closes inherited descriptors to its own children only up to the first gap.
   */
  readonly inherit: ReadonlyArray<number>
  /** What comes from 3 on, for other protocols, so that everything above is moved up by that many. Nothing by default. */
  readonly leading?: ReadonlyArray<Leading> | undefined
  /** Passes what the child prints on to this process's own output and error, and keeps the last lines. Off by default. */
  readonly capture?: boolean | undefined
  /**
   * Makes the child the head of a whole tree of processes: SIGKILL goes to all that descend from it. In a session of its
   * `"own"`, a signal to the group of this process does not reach the tree, and what the child leaves behind can be found.
   */
  readonly tree?: "own" | "shared" | undefined
}

/**
 * A connection that has come from another process.
 *
 * @since 0.1.0
 * @category models
 */
export interface PassedConnection {
  /** Gives it to a server as if that had accepted it; nothing if that takes no more, and then it is still to be closed. */
  readonly accept: (server: net.Server) => Option.Option<net.Socket>
  /** Closes this side of it. */
  readonly close: () => void
}

/**
 * Who hears what comes on a channel.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChannelListener {
  /** Words that are JSON, and the connection that came along, if it did. */
  readonly onWords: (words: unknown, connection: Option.Option<PassedConnection>) => void
  /** Nobody is there any more. */
  readonly onEnd: () => void
}

/**
 * What a process and one that it has started can tell each other, in words that are JSON, with a connection each. It keeps
 * neither of them alive. All of it is synchronous: a connection must not be read between the look at it and its departure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Channel {
  /** Sends words, and if one is given the descriptor of a connection, which stays open here; false if that cannot be. */
  readonly send: (words: object, connection?: net.Socket) => boolean
  /** Who hears from now on, and what has come before. One listener. */
  readonly listen: (listener: ChannelListener) => void
  readonly close: () => void
}

/**
 * A process that was started.
 *
 * @since 0.1.0
 * @category models
 */
export interface Process {
  readonly pid: number
  /** How it ended. Never lost: anyone may wait, before or after. */
  readonly exit: Effect.Effect<ExitStatus>
  /** Sends a signal; false if the process has ended. Its id cannot have been reused: it is a zombie until `exit`. */
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<boolean>
  /** Signals what is left of its session, 0 only to look, and tells which processes that were. */
  readonly signalLeft: (signal: NodeJS.Signals | 0) => Effect.Effect<ReadonlyArray<number>>
  /** What the child says on the ready stream. */
  readonly ready: ByteReader
  /** What the child says on its control stream, if it has one. */
  readonly answers: Option.Option<ByteReader>
  /** Tells the child something on its control stream; false if it has none or nobody is there to read it. */
  readonly tell: (bytes: Uint8Array) => Effect.Effect<boolean>
  /** What it says on the stream that was asked for in `leading`. */
  readonly notification: Option.Option<ByteReader>
  /** On which connections can go to it, if that was asked for. */
  readonly channel: Option.Option<Channel>
  /** The last lines that it printed, if they were captured. */
  readonly lastLines: Effect.Effect<ReadonlyArray<string>>
  /**
   * Completes when all that it has printed, if it was captured, has been passed on. For after its end: others that hold
   * the output open are waited for only until they are silent, and a reader that takes nothing not for ever.
   */
  readonly outputEnd: Effect.Effect<void>
  /** Closes the streams. */
  readonly close: Effect.Effect<void>
  /** Lets this process end while the child lives. The stream of names stays open until this process is gone. */
  readonly unref: Effect.Effect<void>
}

/**
 * A socket that is bound, or was inherited, and accepts nothing until `listen`.
 *
 * @since 0.1.0
 * @category models
 */
export interface BoundListener {
  /** Its descriptor; none once it has been closed, by its server or by `close`. */
  readonly descriptor: () => Option.Option<number>
  /** Where it is bound, as the system tells. */
  readonly address: net.AddressInfo | string | null
  /** Whether another process has had it before. Then it is at its path, and listens, already. */
  readonly inherited: boolean
  /** Gives the socket to a server, which owns it from now on: `server.close()` closes it. */
  readonly attach: (server: net.Server) => void
  /** Checks just before `publish` and `listen` that nobody else has come to listen at the same Unix path. */
  readonly prepare: Effect.Effect<void, ListenError>
  /** Makes a Unix socket appear at its path. */
  readonly publish: () => ListenError | undefined
  /** Has the system queue connections, which nobody accepts before a later turn of the event loop. */
  readonly listen: () => ListenError | undefined
  /** Undoes `publish` and `listen` in the same turn of the event loop. What cannot be undone is closed. */
  readonly retract: () => ListenError | undefined
  /** Starts accepting on the server. The socket must listen: then this cannot fail. */
  readonly accept: () => void
  readonly close: () => void
  /** Removes the Unix path, if it is still the one of this socket. */
  readonly unlink: Effect.Effect<void>
}

/**
 * A socket that was bound at an address and is to queue connections.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueueingSocket {
  readonly address: Address
  readonly listener: BoundListener
}

/**
 * A socket that this process shares with processes which may break it for everybody.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedSocket {
  readonly address: Address
  readonly descriptor: number
}

/**
 * What a shared socket was found to have suffered.
 *
 * @since 0.1.0
 * @category models
 */
export interface SocketDamage {
  readonly address: string
  readonly what: "ShutDown" | "PathRemoved" | "PathTaken"
  /** Why it could not be repaired; undefined if it has been. */
  readonly problem: string | undefined
}

/**
 * A UDP socket that receives nothing until `start`.
 *
 * @since 0.1.0
 * @category models
 */
export interface BoundPacket {
  readonly socket: dgram.Socket
  readonly descriptor: () => Option.Option<number>
  readonly start: () => void
}

/**
 * A file that is written and has not got its name yet.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreparedFile {
  /** Gives it its name, in the place of what had it. */
  readonly commit: Effect.Effect<void, unknown>
  /** The same, unless another process that lives holds what has the name: then that one is told, and nothing is done. */
  readonly commitUnlessHeld: Effect.Effect<Option.Option<number>, unknown>
  /** Whether it has its name still. */
  readonly isThere: Effect.Effect<boolean, unknown>
  /** Holds it no longer, so that another process may have the name. */
  readonly release: Effect.Effect<void>
  /** Removes it, unless it has its name. */
  readonly discard: Effect.Effect<void>
}

/**
 * Files, as far as a PID file needs them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Files {
  /** The content; none if there is no such file, or if what is there is no plain file. Fails with what the system said. */
  readonly read: (path: string) => Effect.Effect<Option.Option<string>, unknown>
  /** The content of a file of any size, wherever links lead to it. Fails with what the system said. */
  readonly readWhole: (path: string) => Effect.Effect<string, unknown>
  /**
   * Does all that can fail for want of space or rights before the content is replaced, which takes one step: readers see
   * the old or the new, also after a crash of the machine. This process holds the file until it ends or releases it.
   */
  readonly prepare: (path: string, content: string) => Effect.Effect<PreparedFile, unknown>
  readonly remove: (path: string) => Effect.Effect<void, unknown>
}

/**
 * Where to ask whether a process serves.
 *
 * @since 0.1.0
 * @category models
 */
export type ProbeTarget =
  | { readonly _tag: "Http"; readonly url: URL; readonly pid: number }
  | { readonly _tag: "Tcp"; readonly host: string; readonly port: number; readonly pid: number }

/**
 * What a probe has seen. One that another process has accepted says nothing, and may be repeated at once.
 *
 * @since 0.1.0
 * @category models
 */
export type ProbeOutcome =
  | { readonly _tag: "Served" }
  | { readonly _tag: "Elsewhere"; readonly detail: string }
  | { readonly _tag: "Refused"; readonly detail: string }

/**
 * What a descriptor is that another program has opened for this one: a stream socket that listens, a datagram socket that
 * receives from everybody, anything else, or a socket of which this process cannot see more.
 *
 * @since 0.1.0
 * @category models
 */
export type DescriptorKind = "listener" | "packet" | "file" | "unknown"

/**
 * What has become of the processes that a pool had left over.
 *
 * @since 0.1.0
 * @category models
 */
export interface OrphansEnded {
  /** Whether there were any. */
  readonly found: boolean
  /** Ids of those that had to be killed. */
  readonly killed: ReadonlyArray<number>
}

/**
 * The operating system, as this process sees it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Env extends Context.Tag("effect-tableflip/Env")<Env, {
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
}>() {}

/**
 * This process, on Node.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Env> = Layer.effect(Env, internal.make)
