/**
 * Files that belong to the process which has them open. A number in a file outlives its process, and comes back as that of
 * a stranger; an open file does neither.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as fs from "node:fs"
import * as path from "node:path"
import type { FileIdentity } from "./identity.ts"
import { fileIdentity, isSame } from "./identity.ts"

const codeOf = (cause: unknown) => (cause as NodeJS.ErrnoException).code

/** More than a number and the white space around it is none of ours. */
const longest = 32

/** Neither a link nor a pipe that somebody has put there is followed or waited for. */
const numberIn = (file: string): number | undefined => {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants
  try {
    const descriptor = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      if (!fs.fstatSync(descriptor).isFile()) return undefined
      const buffer = Buffer.alloc(longest)
      const [digits] = /^\d+(?=\s*$)/.exec(buffer.toString("latin1", 0, fs.readSync(descriptor, buffer))) ?? []
      return digits === undefined ? undefined : Number(digits)
    } finally {
      fs.closeSync(descriptor)
    }
  } catch {
    return undefined
  }
}

/** What it was written under, which the system goes on to call it where it has got its name by a link. */
const isTemporary = (name: string) => /^\.[\da-z]+-[\da-z]+(?: \(deleted\))?$/.test(name)

const hasOpen = (pid: number, name: string, file: FileIdentity): boolean => {
  const directory = `/proc/${pid}/fd`
  try {
    return fs.readdirSync(directory).some((descriptor) => {
      const link = path.join(directory, descriptor)
      try {
        // Looked at only where it may be the one: what is behind others might not answer.
        const base = path.basename(fs.readlinkSync(link))
        return (base === name || isTemporary(base)) && isSame(fs.statSync(link), file)
      } catch {
        // Closed meanwhile.
        return false
      }
    })
  } catch {
    // There is no such process, or it is another user's.
    return false
  }
}

/** The process that a file names and that has it open, unless that is this one. */
const holderOf = (file: string, identity: FileIdentity): Option.Option<number> => {
  const pid = numberIn(file)
  return pid === undefined || pid === process.pid || !hasOpen(pid, path.basename(file), identity)
    ? Option.none()
    : Option.some(pid)
}

/** Some file systems have no second names. */
const isWithoutLinks = (cause: unknown) => ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(codeOf(cause) ?? "")

/**
 * Gives a file its name, unless somebody who lives holds what has it. Of several that try it at once one succeeds: a name is
 * given only where there is none, and a leftover is replaced only by whoever has the right to.
 */
export const nameUnlessHeld = (temporary: string, file: string): Option.Option<number> => {
  const holder = take(temporary, file)
  if (Option.isNone(holder)) fs.rmSync(temporary, { force: true })
  return holder
}

/** There is one for each leftover. Who has it replaces that, or has come too late and gives it back. */
const rightTo = (file: string, { dev, ino }: FileIdentity) =>
  path.join(path.dirname(file), `.${dev.toString(36)}-${ino.toString(36)}`)

const take = (temporary: string, file: string): Option.Option<number> => {
  for (;;) {
    try {
      fs.linkSync(temporary, file)
      return Option.none()
    } catch (cause) {
      if (isWithoutLinks(cause)) return renameUnlessHeld(temporary, file)
      if (codeOf(cause) !== "EEXIST") throw cause
    }
    const found = fs.lstatSync(file, { throwIfNoEntry: false })
    if (found === undefined) continue
    const holder = holderOf(file, found)
    if (Option.isSome(holder)) return holder
    // Fails as it should.
    if (found.isDirectory()) fs.renameSync(temporary, file)
    const right = rightTo(file, found)
    // It may itself be the leftover of somebody who was killed.
    const other = take(temporary, right)
    if (Option.isSome(other)) return other
    try {
      if (isSame(fileIdentity(file), found)) {
        fs.renameSync(right, file)
        return Option.none()
      }
    } catch (cause) {
      fs.unlinkSync(right)
      throw cause
    }
    fs.unlinkSync(right)
  }
}

const renameUnlessHeld = (temporary: string, file: string): Option.Option<number> => {
  const found = fileIdentity(file)
  const holder = found === undefined ? Option.none() : holderOf(file, found)
  if (Option.isNone(holder)) fs.renameSync(temporary, file)
  return holder
}
