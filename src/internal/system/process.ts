/**
 * Processes that are started: what each is to be, and what this one knows of it.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { Channel } from "./channel.ts"
import type { ByteReader } from "./stream.ts"

/**
 * A program, its arguments and the directory it starts in.
 */
export interface Command {
  readonly executable: string
  readonly args: ReadonlyArray<string>
  readonly directory: string
}

/**
 * Which program is meant by a name.
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
 * What a child gets before the streams of this library: a descriptor of this process, the writing end of a stream that
 * this process reads (`notification`, one at most), or `/dev/null` to fill a gap.
 */
export type Leading = number | "notification" | "filler"

/**
 * What to start, and what it inherits besides standard input, output and error.
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
  /** What each line that is passed on begins with. */
  readonly linePrefix?: string | undefined
  /**
   * Makes the child the head of a whole tree of processes: SIGKILL goes to all that descend from it. In a session of its
   * `"own"`, a signal to the group of this process does not reach the tree, and what the child leaves behind can be found.
   */
  readonly tree?: "own" | "shared" | undefined
}

/**
 * A process that was started.
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
