/**
 * Byte streams between processes as readers with one owner.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as net from "node:net"
import { DescriptorError } from "../../TableflipError.ts"
import { drain } from "../seam.ts"
import type { ByteReader } from "../system/stream.ts"
import { connectionDescriptor } from "./internals.ts"

/** What is kept for a reader who does not take it. The other side waits, once the system keeps no more for it either. */
const maxKept = 64 * 1024

/**
 * Reads a socket until it ends or breaks. A process that dies with unread bytes on a socket pair shows as ECONNRESET
 * rather than as an end of stream, so both are the end.
 */
export const readerOf = (socket: net.Socket): Effect.Effect<ByteReader> =>
  Effect.map(Queue.unbounded<Option.Option<Uint8Array>>(), (chunks) => {
    let ended = false
    let discarding = false
    let kept = 0
    const end = () => void chunks.unsafeOffer(Option.none())
    const keep = (chunk: Buffer) => {
      if (discarding) return
      kept += chunk.length
      chunks.unsafeOffer(Option.some(chunk))
      if (kept >= maxKept) socket.pause()
    }
    const take = (chunk: Uint8Array) => {
      kept -= chunk.length
      if (kept < maxKept) socket.resume()
    }
    socket.on("data", keep)
    socket.on("end", end)
    socket.on("error", end)
    socket.on("close", end)
    return {
      read: Effect.suspend(() => ended ? Effect.succeedNone : Queue.take(chunks)).pipe(
        Effect.tap((chunk) => {
          if (Option.isSome(chunk)) take(chunk.value)
          else ended = true
          return Effect.void
        })
      ),
      discard: Effect.suspend(() => {
        discarding = true
        socket.resume()
        return drain(chunks)
      }).pipe(Effect.map((chunks) => {
        if (chunks.some(Option.isNone)) ended = true
      })),
      descriptor: Effect.sync(() => connectionDescriptor(socket))
    }
  })

export const openReader = (descriptor: number): Effect.Effect<ByteReader, DescriptorError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => new net.Socket({ fd: descriptor, readable: true, writable: false }).unref(),
      catch: (cause) =>
        new DescriptorError({
          reason: isOpen(descriptor) ? "WrongType" : "NotOpen",
          name: String(descriptor),
          detail: isOpen(descriptor) ? "is not a pipe or socket" : "is not open",
          cause
        })
    }),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.flatMap(readerOf))

const statOf = (descriptor: number): fs.Stats | undefined => {
  try {
    return fs.fstatSync(descriptor)
  } catch {
    return undefined
  }
}

export const fileIdentity = (descriptor: number): Option.Option<string> => {
  const stat = statOf(descriptor)
  return stat === undefined ? Option.none() : Option.some(`${stat.dev}:${stat.ino}`)
}

export const isOpen = (descriptor: number): boolean => statOf(descriptor) !== undefined

/**
 * A pipe of which both ends are in this process is one that Node made for itself, next to each other. To read it or to
 * close it would break the event loop.
 */
const hasBothEnds = (descriptor: number, end: fs.Stats): boolean => {
  for (let other = Math.max(3, descriptor - nearby); other <= descriptor + nearby; other++) {
    const stat = other === descriptor ? undefined : statOf(other)
    if (stat?.ino === end.ino && stat.dev === end.dev) return true
  }
  return false
}

const nearby = 16

export const isStream = (descriptor: number): boolean => {
  const stat = statOf(descriptor)
  return stat !== undefined && (stat.isSocket() || (stat.isFIFO() && !hasBothEnds(descriptor, stat)))
}

export const closeDescriptor = (descriptor: number): void => {
  try {
    fs.closeSync(descriptor)
  } catch {
    // It was not open, which is what closing is for.
  }
}

/** A few bytes always fit, so this does not block. A closed other side is told by the result. */
export const write = (descriptor: number, bytes: Uint8Array): boolean => {
  try {
    return fs.writeSync(descriptor, bytes) === bytes.length
  } catch {
    return false
  }
}

export const writeAndClose = (descriptor: number, bytes: Uint8Array): boolean => {
  const written = write(descriptor, bytes)
  closeDescriptor(descriptor)
  return written
}

/**
 * Throws where not so many descriptors are left. Those that Node has made for a process by the time it finds that there are no
 * more, it forgets and leaves open.
 */
export const checkRoom = (count: number): void => {
  const opened: Array<number> = []
  try {
    while (opened.length < count) opened.push(fs.openSync("/dev/null", "r"))
  } catch (cause) {
    if (["EMFILE", "ENFILE"].includes((cause as NodeJS.ErrnoException).code ?? "")) throw cause
  } finally {
    opened.forEach(closeDescriptor)
  }
}

/** What it takes to start a process with so many streams: both ends of each, and of the one by which exec(2) is told. */
export const roomFor = (streams: number): number => 2 * (streams + 1)
