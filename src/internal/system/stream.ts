/**
 * Streams of bytes between processes.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

/**
 * The reading end of a stream of bytes.
 */
export interface ByteReader {
  /** The next bytes; none at the end of the stream, which a broken stream counts as. One reader at a time. */
  readonly read: Effect.Effect<Option.Option<Uint8Array>>
  /** Throws away what comes from now on, so that a process that says more than it was asked for neither waits nor dies of it. */
  readonly discard: Effect.Effect<void>
  /** The open descriptor, to pass on to a child; none once it has been closed. */
  readonly descriptor: Effect.Effect<Option.Option<number>>
}
