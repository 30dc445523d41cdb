/**
 * The file that tells a supervisor which process to signal.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as path from "node:path"
import { Env } from "./Env.ts"
import { PidFileError } from "./TableflipError.ts"

/**
 * A PID file. It is replaced in one step (temporary file in the same directory, fsync, rename), so a reader sees a whole
 * old or a whole new number. A symbolic link at the path is replaced, not followed.
 *
 * @since 0.1.0
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
  /** The same, unless it names this process already. For after a failed upgrade that had written it. */
  readonly restore: Effect.Effect<void, PidFileError>
  /** Removes the file if it still names this process. */
  readonly remove: Effect.Effect<void, PidFileError>
}

/**
 * A PID file at a path. A relative path starts at the directory in which this process was started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (file: string) => Effect.Effect<PidFile, never, Env> = Effect.fnUntraced(function*(file) {
  const env = yield* Env
  const absolute = path.resolve(env.directory, file)
  const mapError = Effect.mapError((cause: unknown) => new PidFileError({ path: absolute, cause }))
  const content = `${env.pid}\n`
  const namesThisProcess = env.files.read(absolute).pipe(
    Effect.map(Option.exists((text) => text.trim() === String(env.pid)))
  )
  const writeAfter: PidFile["writeAfter"] = (use) =>
    Effect.acquireUseRelease(
      mapError(env.files.prepare(absolute, content)),
      ({ commit }) => Effect.tap(use, () => mapError(commit)),
      ({ discard }) => discard
    )
  const write = writeAfter(Effect.void)
  return {
    path: absolute,
    write,
    writeAfter,
    restore: Effect.asVoid(Effect.unlessEffect(write, mapError(namesThisProcess))),
    remove: mapError(Effect.whenEffect(env.files.remove(absolute), namesThisProcess))
  }
})
