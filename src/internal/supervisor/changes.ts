/**
 * Files and folders whose change is a reason to reload. They are looked at now and then rather than watched: what a kernel
 * tells of files ends at a mounted volume and at a link that is turned elsewhere, which is how Kubernetes replaces one.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { InvalidOptionError } from "../../TableflipError.ts"
import { logWarning } from "../logging.ts"
import type { Files } from "../system/file.ts"

/** Between two looks. What was the same in two of them is written to the end. */
const interval = "1 second"

interface Watched {
  readonly path: string
  /** What was there when the command was told, or started. */
  known: string
  /** What was there at the last look; undefined when nothing was. */
  seen: string | undefined
}

const reasonOf = (cause: unknown) => cause instanceof Error ? cause.message : String(cause)

const first = ({ fingerprint }: Files) => (path: string): Effect.Effect<Watched, InvalidOptionError> =>
  Effect.mapBoth(fingerprint(path), {
    onSuccess: (known) => ({ path, known, seen: known }),
    onFailure: (cause) =>
      new InvalidOptionError({
        option: "reloadOnChange",
        value: path,
        expected: `a file or a folder that can be read (${reasonOf(cause)})`
      })
  })

/** Whether it has changed, and goes on changing no more. */
const hasChanged = ({ fingerprint }: Files) => (watched: Watched): Effect.Effect<boolean> =>
  Effect.matchEffect(fingerprint(watched.path), {
    onSuccess: (now) =>
      Effect.sync(() => {
        const isSettled = now === watched.seen && now !== watched.known
        watched.seen = now
        if (isSettled) watched.known = now
        return isSettled
      }),
    onFailure: (cause) => {
      const wasThere = watched.seen !== undefined
      watched.seen = undefined
      const words = `${watched.path} cannot be read any more (${
        reasonOf(cause)
      }); the command goes on with what it has read`
      return Effect.as(wasThere ? logWarning(words) : Effect.void, false)
    }
  })

/** Completes when some of them have changed since it was made, or since it has completed before, and names them. */
export const make = (
  files: Files,
  paths: ReadonlyArray<string>
): Effect.Effect<Effect.Effect<ReadonlyArray<string>>, InvalidOptionError> =>
  Effect.map(Effect.forEach(paths, first(files)), (all) =>
    all.length === 0
      ? Effect.never
      : Effect.filter(all, hasChanged(files)).pipe(
        Effect.delay(interval),
        Effect.repeat({ until: (changed) => changed.length > 0 }),
        Effect.map((changed) => changed.map(({ path }) => path))
      ))
