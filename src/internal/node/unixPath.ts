/**
 * Unix sockets at a path. libuv removes the name it was asked to bind when the binding process closes the socket, even
 * while a successor listens there (Node issue 19729). So a socket is bound under a name that nobody else ever uses and
 * then renamed, which also replaces the file of a dead process in one step.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import type { PathAddress } from "../../Address.ts"
import { ListenError } from "../../TableflipError.ts"
import { uniqueName } from "./files.ts"
import { fileIdentity, isSame } from "./identity.ts"
import * as internals from "./internals.ts"
import type { ServerHandle } from "./internals.ts"

export const isAbstract = (socketPath: string): boolean => socketPath.startsWith("\0")

// struct sockaddr_un, see unix(7); macOS has 104. Node 20 and 22 cut longer names off without a word.
const longestPath = process.platform === "linux" ? 107 : 103

const invalid = (address: PathAddress, detail: string) =>
  Effect.fail(new ListenError({ reason: "InvalidAddress", address: address.path, detail }))

interface BoundPath {
  readonly handle: ServerHandle
  readonly publish: () => void
  /** Removes what is there until it is published. */
  readonly discard: () => void
  /** Takes it away from its path again. */
  readonly retract: () => void
  /** Fails if somebody else listens at the path. */
  readonly checkFree: Effect.Effect<void, ListenError>
  /** Whether what is bound still has its name. */
  readonly isThere: () => boolean
}

type ToListenError = (cause: unknown) => ListenError

/** Where the name of a file is too long for a socket, the way to it from the current directory may do. */
const reach = (file: string): string => {
  if (Buffer.byteLength(file) <= longestPath) return file
  const current = Either.getOrUndefined(Either.try(() => process.cwd()))
  return current === undefined ? file : path.relative(current, file)
}

export const bindPath = (
  address: PathAddress,
  toListenError: ToListenError
): Effect.Effect<BoundPath, ListenError> =>
  Effect.gen(function*() {
    const { mode } = address
    const temporary = path.join(path.dirname(address.path), uniqueName())
    const longest = isAbstract(address.path) || temporary.length < address.path.length ? address.path : temporary
    if (address.path.length === 0) return yield* invalid(address, "the path is empty")
    const needed = isAbstract(address.path) ? longest : reach(longest)
    if (Buffer.byteLength(needed) > longestPath) {
      return yield* invalid(address, `the path is too long; ${longestPath} bytes is what the system takes`)
    }
    if (isAbstract(address.path)) return yield* bindAbstract(address, toListenError)
    const isFree = checkFree(address, toListenError)
    yield* isFree
    const handle = internals.bindPipe(reach(temporary))
    if (typeof handle === "number") {
      // libuv says EACCES for it, which sends people to look at permissions.
      const directory = path.dirname(address.path)
      return yield* fs.existsSync(directory)
        ? toListenError(handle)
        : invalid(address, `the directory ${directory} does not exist`)
    }
    if (mode !== undefined) {
      yield* setMode(temporary, mode, address, toListenError).pipe(
        Effect.tapError(() => Effect.sync(() => handle.close()))
      )
    }
    const file = fileIdentity(temporary)
    return {
      handle,
      checkFree: isFree,
      isThere: () => isSame(fileIdentity(temporary), file),
      retract: () => {
        if (isSame(fileIdentity(address.path), file)) fs.renameSync(address.path, temporary)
      },
      publish: () => fs.renameSync(temporary, address.path),
      // libuv removes what it has bound when it closes it, but not from another directory.
      discard: () => void Either.try(() => fs.unlinkSync(temporary))
    }
  })

/** A path can be written when the socket is bound and not any more when the process becomes ready. */
export const unpublished = (error: ListenError): ListenError =>
  error.reason !== "PermissionDenied" ? error : new ListenError({
    ...error,
    detail:
      `the path cannot be put there now (${error.detail}), although the socket could be bound; a process that has ` +
      "given up its rights in between should do so once it is ready, or use a directory that its new user may write"
  })

// fcntl.h; Node has no name for it.
const O_PATH = 0o10000000

const replaced =
  "somebody has put something else in the place of the socket; use a directory that only this user can write"

const withoutProc = "its mode can be set safely only with /proc mounted or in a directory that only this user can write"

/** Where nobody else can replace a file of this user. */
const canOthersWrite = (directory: string): boolean => {
  const { mode, uid } = fs.statSync(directory)
  const isSticky = (mode & 0o1000) !== 0
  return ![0, process.geteuid?.()].includes(uid) || (mode & 0o022) !== 0 && !isSticky
}

/**
 * Nobody can connect yet, so the mode comes in time. `chmod` follows links, and whoever may write the directory could put
 * one there that leads to any file; so the file is held first and looked at.
 */
const setMode = (
  socketPath: string,
  mode: number,
  address: PathAddress,
  toListenError: ToListenError
): Effect.Effect<void, ListenError> =>
  Effect.try({
    try: (): string | undefined => {
      if (process.platform !== "linux") return void fs.lchmodSync(socketPath, mode)
      const descriptor = fs.openSync(socketPath, O_PATH | fs.constants.O_NOFOLLOW)
      try {
        if (!fs.fstatSync(descriptor).isSocket()) return replaced
        const through = `/proc/self/fd/${descriptor}`
        const isThere = fs.existsSync(through)
        if (!isThere && canOthersWrite(path.dirname(socketPath))) return withoutProc
        return void fs.chmodSync(isThere ? through : socketPath, mode)
      } finally {
        fs.closeSync(descriptor)
      }
    },
    catch: toListenError
  }).pipe(Effect.flatMap((problem) => problem === undefined ? Effect.void : invalid(address, problem)))

const nothing = () => {}

const bindAbstract = (address: PathAddress, toListenError: ToListenError): Effect.Effect<BoundPath, ListenError> => {
  if (process.platform !== "linux") return invalid(address, "abstract sockets exist on Linux only")
  const handle = internals.bindPipe(address.path)
  return typeof handle === "number"
    ? Effect.fail(toListenError(handle))
    : Effect.succeed({
      handle,
      publish: nothing,
      retract: nothing,
      discard: nothing,
      checkFree: Effect.void,
      isThere: () => true
    })
}

/** A socket that nobody answers at is the leftover of a dead process; one that answers, or another file, is not ours. */
const checkFree = (address: PathAddress, toListenError: ToListenError): Effect.Effect<void, ListenError> =>
  Effect.suspend(() => {
    const stat = fs.lstatSync(address.path, { throwIfNoEntry: false })
    if (stat === undefined) return Effect.void
    if (!stat.isSocket()) return invalid(address, "a file is there that is not a socket; it is left alone")
    return Effect.async<void, ListenError>((resume) => {
      const probe = net.connect(reach(address.path))
      const inUse = toListenError(-os.constants.errno.EADDRINUSE)
      probe.once("connect", () => {
        probe.destroy()
        resume(Effect.fail(inUse))
      })
      probe.once(
        "error",
        (cause: NodeJS.ErrnoException) =>
          resume(cause.code === "ECONNREFUSED" || cause.code === "ENOENT" ? Effect.void : Effect.fail(inUse))
      )
    })
  }).pipe(Effect.catchAllDefect((cause) => Effect.fail(toListenError(cause))))
