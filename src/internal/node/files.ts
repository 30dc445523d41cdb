/**
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { closeSync, constants, fstatSync, lstatSync, openSync, renameSync } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type { Files, PreparedFile } from "../system/file.ts"
import { nameUnlessHeld } from "./heldFile.ts"
import { fileIdentity, isSame } from "./identity.ts"

/**
 * A file name that nobody else uses: for files that are made under it, with O_EXCL or by bind(2), before they are
 * renamed. It need not be a secret, and `node:crypto` would cost two milliseconds at every start.
 */
export const uniqueName = (): string => `.${process.pid.toString(36)}-${Math.random().toString(36).slice(2, 12)}`

/** More than a number and the white space around it is none of ours. */
const longest = 4096

/**
 * Whoever may write the directory can put there what is no plain file: a pipe keeps a reader waiting for ever, a link
 * leads to somebody else's file or to one without end.
 */
const readSmall = async (file: string): Promise<Option.Option<string>> => {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants
  const handle = await fs.open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const stat = await handle.stat()
    if (!stat.isFile() || stat.size > longest) return Option.none()
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(longest), 0, longest, 0)
    return Option.some(buffer.toString("utf8", 0, bytesRead))
  } finally {
    await handle.close()
  }
}

const codeOf = (cause: unknown) => (cause as NodeJS.ErrnoException).code

// A link (ELOOP), a socket (ENXIO).
const isNoFile = (cause: unknown): boolean => ["ENOENT", "ELOOP", "ENXIO"].includes(codeOf(cause) ?? "")

const isMissing = (cause: unknown): boolean => codeOf(cause) === "ENOENT"

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, unknown> =>
  Effect.tryPromise({ try: run, catch: (cause) => cause })

const attemptNow = <A>(run: () => A): Effect.Effect<A, unknown> => Effect.try({ try: run, catch: (cause) => cause })

/** Held by being open, and only for reading, so that its file system can be made read-only. */
const writeTemporary = async (file: string, content: string): Promise<number> => {
  const handle = await fs.open(file, "wx", 0o644)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } catch (cause) {
    await fs.unlink(file)
    throw cause
  } finally {
    await handle.close()
  }
  return openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW)
}

const prepare = async (file: string, content: string): Promise<PreparedFile> => {
  // A name of its own for every writer, made with O_EXCL: neither a second writer nor a planted link can be hit.
  let temporary = path.join(path.dirname(file), uniqueName())
  let descriptor: number | undefined = await writeTemporary(temporary, content)
  let isNamed = false
  let stat = fstatSync(descriptor)

  const release = () => {
    if (descriptor === undefined) return
    closeSync(descriptor)
    descriptor = undefined
  }
  const writeAgain = async () => {
    release()
    temporary = path.join(path.dirname(file), uniqueName())
    descriptor = await writeTemporary(temporary, content)
    stat = fstatSync(descriptor)
  }
  // In one turn of the event loop: whoever is let in before that must not be lost with a process that comes no further.
  const name = <A>(rename: () => A, isDone: (result: A) => boolean): Effect.Effect<A, unknown> =>
    Effect.uninterruptible(Effect.suspend(() => {
      const renamed = attemptNow(() => {
        const result = rename()
        isNamed = isDone(result)
        return result
      })
      // The directory may have been replaced since.
      return isSame(fileIdentity(temporary), stat) ? renamed : Effect.zipRight(attempt(writeAgain), renamed)
    }))
  return {
    commit: name(() => renameSync(temporary, file), () => true),
    commitUnlessHeld: name(() => nameUnlessHeld(temporary, file), Option.isNone),
    isThere: attempt(async () => {
      const found = lstatSync(file, { throwIfNoEntry: false })
      // One that is not held any more may have given its number to another.
      return isNamed && isSame(found, stat) && found?.mtimeMs === stat.mtimeMs
    }),
    release: Effect.sync(release),
    discard: Effect.suspend(() => {
      if (isNamed) return Effect.void
      release()
      return Effect.ignore(attempt(() => fs.unlink(temporary)))
    })
  }
}

/** What has gone between two looks has changed. */
const orGone = async <A>(looked: Promise<A>): Promise<A | undefined> => {
  try {
    return await looked
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
}

/** Of each folder once, however many links lead to it. Kubernetes has what it links to in folders with two dots. */
const fingerprint = async (file: string, seen = new Set<string>()): Promise<string> => {
  const stat = await fs.stat(file, { bigint: true })
  const identity = `${stat.dev}:${stat.ino}`
  if (!stat.isDirectory()) return `${identity}:${stat.size}:${stat.mtimeNs}`
  if (seen.has(identity)) return identity
  seen.add(identity)
  const parts: Array<string> = []
  const names = await fs.readdir(file)
  // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
  for (const name of names.sort()) {
    if (name.startsWith("..")) continue
    const part = await orGone(fingerprint(path.join(file, name), seen))
    parts.push(`${JSON.stringify(name)}=${part ?? "gone"}`)
  }
  return `{${parts.join()}}`
}

export const files: Files = {
  read: (file) => Effect.catchIf(attempt(() => readSmall(file)), isNoFile, () => Effect.succeed(Option.none())),
  readWhole: (file) => attempt(() => fs.readFile(file, "utf8")),
  fingerprint: (file) => attempt(() => fingerprint(file)),
  prepare: (file, content) => Effect.uninterruptible(attempt(() => prepare(file, content))),
  remove: (file) => attempt(() => fs.unlink(file)).pipe(Effect.catchIf(isMissing, () => Effect.void))
}
