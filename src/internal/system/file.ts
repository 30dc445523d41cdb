/**
 * Files, as far as a PID file needs them.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

/**
 * A file that is written and has not got its name yet.
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
 */
export interface Files {
  /** The content; none if there is no such file, or if what is there is no plain file. Fails with what the system said. */
  readonly read: (path: string) => Effect.Effect<Option.Option<string>, unknown>
  /** The content of a file of any size, wherever links lead to it. Fails with what the system said. */
  readonly readWhole: (path: string) => Effect.Effect<string, unknown>
  /**
   * A word that is another one once the file, or any file in the folder and its folders, is another one, has another size
   * or has been written. Fails with what the system said.
   */
  readonly fingerprint: (path: string) => Effect.Effect<string, unknown>
  /**
   * Does all that can fail for want of space or rights before the content is replaced, which takes one step: readers see
   * the old or the new, also after a crash of the machine. This process holds the file until it ends or releases it.
   */
  readonly prepare: (path: string, content: string) => Effect.Effect<PreparedFile, unknown>
  readonly remove: (path: string) => Effect.Effect<void, unknown>
}
