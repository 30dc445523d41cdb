/**
 * The output of this process, with one writer for each place that it leads to: whole lines in the order in which they
 * came, and nobody who reads them slowly, or not at all, holds up this process.
 *
 * @internal
 */
import * as fs from "node:fs"
import * as net from "node:net"

export interface Writer {
  /** Completes when the bytes have been written or given up. */
  readonly write: (bytes: Uint8Array) => Promise<void>
  /** A line of ours, which is dropped, and counted, rather than kept without bound. */
  readonly line: (text: string) => void
  /** When something was last written, by `performance.now()`. */
  readonly writtenAt: () => number
  readonly isBusy: () => boolean
}

/** A pipe takes that many bytes as a whole, so that other programs on it do not tear our lines. */
const atOnce = 4096
const maxQueued = 1024 * 1024
/** Milliseconds until a pipe that was full is tried again. */
const busyDelay = 10

export type Send = (bytes: Uint8Array, done: (error: NodeJS.ErrnoException | null, written: number) => void) => void

/**
 * A pipe is opened anew, because whether writing blocks belongs to what all share who have inherited it: the command and
 * others would lose lines if we changed that. A socket cannot be opened anew.
 */
const senderTo = (descriptor: number): Send => {
  const stat = fs.fstatSync(descriptor)
  if (stat.isSocket()) {
    const socket = new net.Socket({ fd: descriptor, readable: false, writable: true }).unref()
    socket.on("error", () => {})
    return (bytes, done) => socket.write(bytes, (error) => done(error ?? null, bytes.length))
  }
  const own = stat.isFIFO() ? reopened(descriptor) : descriptor
  return (bytes, done) => fs.write(own, bytes, done)
}

const reopened = (descriptor: number): number => {
  try {
    return fs.openSync(`/proc/self/fd/${descriptor}`, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK)
  } catch {
    return descriptor
  }
}

/** The reader is gone, and nobody else can come in its place. */
const isFinal = ({ code }: NodeJS.ErrnoException) => code === "EPIPE" || code === "ECONNRESET" || code === "EBADF"

const countLines = (bytes: Uint8Array) => bytes.reduce((count, byte) => byte === newline ? count + 1 : count, 0)
const newline = 10
const lineEnd = Uint8Array.of(newline)

interface Entry {
  readonly bytes: Uint8Array
  readonly done: () => void
  /** How many lines nobody knows to be lost if this one, which tells of them, is lost too. */
  readonly tells?: number | undefined
}

export const make = (send: Send): Writer => {
  const queue: Array<Entry> = []
  let queued = 0
  let lost = 0
  let isBusy = false
  let isLost = false
  /** Whether what has been written ends within a line. */
  let isWithinLine = false
  /** Whether the rest of that line is lost. */
  let isTorn = false
  let writtenAt = performance.now()

  /** There may be thousands of them. */
  const dropAll = () => {
    isBusy = false
    queued = 0
    for (const { done } of queue.splice(0)) done()
  }

  const next = (): void => {
    if (isLost) return dropAll()
    const entry = queue.shift()
    isBusy = entry !== undefined
    if (entry === undefined) return
    const end = () => {
      queued -= entry.bytes.length
      entry.done()
      next()
    }
    // What could be written of a line must not have the next one behind it.
    const bytes = isTorn ? Buffer.concat([lineEnd, entry.bytes]) : entry.bytes
    const from = (offset: number): void => {
      if (offset >= bytes.length) return end()
      send(bytes.subarray(offset, endOf(bytes, offset)), (error, written) => {
        if (error === null) {
          writtenAt = performance.now()
          if (written > 0) isWithinLine = bytes[offset + written - 1] !== newline
          isTorn = false
          return from(offset + written)
        }
        if (error.code === "EAGAIN") return void setTimeout(() => from(offset), busyDelay)
        isLost ||= isFinal(error)
        // A full disk, say: these lines are lost, the next ones are tried.
        lost += entry.tells ?? countLines(entry.bytes.subarray(Math.max(0, offset - bytes.length + entry.bytes.length)))
        isTorn = isWithinLine
        end()
      })
    }
    from(0)
  }

  const write = (bytes: Uint8Array, tells?: number): Promise<void> =>
    new Promise((resolve) => {
      if (isLost) return resolve()
      queue.push({ bytes, tells, done: resolve })
      queued += bytes.length
      if (!isBusy) next()
    })

  const tellLost = () => {
    if (lost === 0) return
    const count = lost
    lost = 0
    const text = `${new Date().toISOString()} WARN  tableflip: ${count} line(s) of the output were lost\n`
    void write(Buffer.from(text), count)
  }

  return {
    write: (bytes) => {
      tellLost()
      return write(bytes)
    },
    line: (text) => {
      const bytes = Buffer.from(`${text}\n`)
      if (queued + bytes.length > maxQueued) {
        lost += 1
        return
      }
      tellLost()
      void write(bytes)
    },
    writtenAt: () => writtenAt,
    isBusy: () => isBusy
  }
}

/** As many whole lines as a pipe takes at once; a longer line is sent in pieces. */
const endOf = (bytes: Uint8Array, offset: number): number => {
  const limit = offset + atOnce
  if (limit >= bytes.length) return bytes.length
  const end = bytes.lastIndexOf(newline, limit - 1)
  return end < offset ? limit : end + 1
}

const writers = new Map<string, Writer>()

/** The one writer of the place that a descriptor leads to: standard output and error may be the same. */
export const to = (descriptor: 1 | 2): Writer => {
  const { dev, ino } = fs.fstatSync(descriptor)
  const key = `${dev} ${ino}`
  const writer = writers.get(key) ?? make(senderTo(descriptor))
  writers.set(key, writer)
  return writer
}

/** Completes when all is written, or when a reader has taken nothing for that many milliseconds. */
export const flush = async (patience: number): Promise<void> => {
  const since = performance.now()
  const isWaitedFor = (writer: Writer) =>
    writer.isBusy() && performance.now() - Math.max(since, writer.writtenAt()) < patience
  while ([...writers.values()].some(isWaitedFor)) await new Promise((resolve) => setTimeout(resolve, busyDelay))
}
