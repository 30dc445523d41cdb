/**
 * Which file it is, whatever its name.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"

/** What tells a file apart from another that has come to its path. */
export interface FileIdentity {
  readonly dev: number
  readonly ino: number
}

export const fileIdentity = (socketPath: string): FileIdentity | undefined =>
  fs.lstatSync(socketPath, { throwIfNoEntry: false })

export const isSame = (one: FileIdentity | undefined, other: FileIdentity | undefined): boolean =>
  one !== undefined && one.ino === other?.ino && one.dev === other.dev

/** Removes the path only while it is still the file that it was when this process began to serve it. */
export const unlinkOwn = (socketPath: string, own: FileIdentity): Effect.Effect<void> =>
  Effect.ignore(Effect.try(() => {
    if (isSame(fileIdentity(socketPath), own)) fs.unlinkSync(socketPath)
  }))

/** Whether two paths lead to one file. */
export const isSameFile = (one: string, other: string): boolean =>
  isSame(fs.statSync(one, { throwIfNoEntry: false }), fs.statSync(other, { throwIfNoEntry: false }))
