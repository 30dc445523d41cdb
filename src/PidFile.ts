/**
 * The file that tells a supervisor which process to signal.
 *
 * @since 3.0.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as path from "node:path"
import { Env } from "./internal/system/env.ts"
import type { PreparedFile } from "./internal/system/file.ts"
import { PidFileError } from "./TableflipError.ts"

/**
 * A PID file. It is replaced in one step (temporary file in the same directory, fsync, rename), so a reader sees a whole
 * old or a whole new number. A symbolic link at the path is replaced, not followed.
 *
 * @since 3.0.0
 * @category models
 */
export interface PidFile {
  /** The absolute path. */
  readonly path: string
  /** Makes the file name this process. */
  readonly write: Effect.Effect<void, PidFileError>
  /**
   * The same once `use` has succeeded, and fails before it where the file cannot be written. Who finds the file finds what
   * `use` has made.
   */
  readonly writeAfter: <A, E, R>(use: Effect.Effect<A, E, R>) => Effect.Effect<A, E | PidFileError, R>
  /** Writes it again, unless it is there still. For after a failed upgrade that had written it. */
  readonly restore: Effect.Effect<void, PidFileError>
  /** Leaves the file to a process that starts from now on. For a process that is about to end. */
  readonly release: Effect.Effect<void>
  /** Removes the file if it is still the one that this process has written. */
  readonly remove: Effect.Effect<void, PidFileError>
}

/**
 * How a PID file is written.
 *
 * @since 3.0.0
 * @category models
 */
export interface Options {
  /**
   * Whether the file of another process that runs is left to it, and writing fails; false by default. Linux alone tells
   * whether the process that a file names is still the one that has written it.
   */
  readonly exclusive?: boolean | undefined
}

/**
 * A PID file at a path. A relative path starts at the directory in which this process was started.
 *
 * @since 3.0.0
 * @category constructors
 */
export const make: (file: string, options?: Options) => Effect.Effect<PidFile, never, Env> = Effect.fnUntraced(
  function*(file, { exclusive = false } = {}) {
    const env = yield* Env
    const absolute = path.resolve(env.directory, file)
    const failWith = (reason: PidFileError["reason"]) =>
      Effect.mapError((cause: unknown) => new PidFileError({ reason, path: absolute, cause }))
    let own: PreparedFile | undefined
    const isThere = Effect.suspend((): Effect.Effect<boolean, unknown> => own?.isThere ?? Effect.succeed(false))
    const release = Effect.suspend(() => own?.release ?? Effect.void)

    const commit = (prepared: PreparedFile, unlessHeld: boolean) =>
      Effect.gen(function*() {
        const holder = yield* failWith("NotWritten")(
          unlessHeld ? prepared.commitUnlessHeld : Effect.as(prepared.commit, Option.none<number>())
        )
        if (Option.isSome(holder)) {
          return yield* new PidFileError({ reason: "InUse", path: absolute, pid: holder.value })
        }
        yield* release
        own = prepared
      })

    const writeWith = (unlessHeld: boolean): PidFile["writeAfter"] => (use) =>
      Effect.acquireUseRelease(
        failWith("NotWritten")(env.files.prepare(absolute, `${env.pid}\n`)),
        (prepared) => Effect.tap(use, () => commit(prepared, unlessHeld)),
        ({ discard }) => discard
      )

    const writeAfter = writeWith(exclusive)
    return {
      path: absolute,
      write: writeAfter(Effect.void),
      writeAfter,
      restore: Effect.asVoid(Effect.unlessEffect(writeWith(false)(Effect.void), failWith("NotWritten")(isThere))),
      release,
      remove: failWith("NotRemoved")(Effect.whenEffect(env.files.remove(absolute), isThere)).pipe(
        Effect.zipRight(release)
      )
    }
  }
)
