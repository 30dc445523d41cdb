/**
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type { Files } from "../Env.ts"

/**
 * A file name that nobody else uses: for files that are made under it, with O_EXCL or by bind(2), before they are
 * renamed. It need not be a secret, and `node:crypto` would cost two milliseconds at every start.
 */
export const uniqueName = (): string => `.${process.pid.toString(36)}-${Math.random().toString(36).slice(2, 12)}`

const isMissing = (cause: unknown): boolean => (cause as NodeJS.ErrnoException).code === "ENOENT"

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: run, catch: (cause) => cause })

const writeTemporary = async (file: string, content: string): Promise<void> => {
  const handle = await fs.open(file, "wx", 0o644)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export const files: Files = {
  read: (file) =>
    attempt(() => fs.readFile(file, "utf8")).pipe(
      Effect.map(Option.some),
      Effect.catchIf(isMissing, () => Effect.succeed(Option.none()))
    ),
  // A name of its own for every writer, made with O_EXCL: neither a second writer nor a planted link can be hit.
  writeAtomic: (file, content) =>
    Effect.suspend(() => {
      const temporary = path.join(path.dirname(file), uniqueName())
      return attempt(async () => {
        await writeTemporary(temporary, content)
        await fs.rename(temporary, file)
      }).pipe(
        Effect.tapError(() => Effect.ignore(attempt(() => fs.unlink(temporary)))),
        Effect.uninterruptible
      )
    }),
  remove: (file) => attempt(() => fs.unlink(file)).pipe(Effect.catchIf(isMissing, () => Effect.void))
}
