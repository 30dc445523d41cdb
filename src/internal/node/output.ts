/**
 * What a child prints, on its way to the output of this process.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import type * as stream from "node:stream"
import { StringDecoder } from "node:string_decoder"
import { promisify } from "node:util"
import { logWarning } from "../logging.ts"
import { checkRoom, roomFor } from "./streams.ts"
import * as writer from "./writer.ts"

const keptLines = 20
const keptLength = 8 * 1024

/** The last lines of a text that arrives in pieces, in bounded memory. */
export const makeTail = () => {
  const decoder = new StringDecoder("utf8")
  let text = ""
  return {
    add: (bytes: Buffer) => {
      text = (text + decoder.write(bytes)).slice(-keptLength)
    },
    lines: (): ReadonlyArray<string> => text.split("\n").filter((line) => line.trim() !== "").slice(-keptLines)
  }
}

/** Puts something before each line of a stream that comes in pieces. */
export const prefixLines = (prefix: string): (bytes: Buffer) => Buffer => {
  const before = Buffer.from(prefix)
  let isWithinLine = false
  return (bytes) => {
    const parts: Array<Buffer> = []
    for (let start = 0; start < bytes.length;) {
      const newline = bytes.indexOf("\n", start)
      const end = newline === -1 ? bytes.length : newline + 1
      if (!isWithinLine) parts.push(before)
      parts.push(bytes.subarray(start, end))
      isWithinLine = newline === -1
      start = end
    }
    return Buffer.concat(parts)
  }
}

/** A line that is longer than this is passed on in pieces. */
const maxLine = 64 * 1024

/** Passes a stream on in whole lines. While they are being written, the child is held up as it would be by the pipe itself. */
const passOnStream = (
  source: stream.Readable,
  destination: writer.Writer,
  remember: (bytes: Buffer) => void,
  dress: (bytes: Buffer) => Buffer,
  onActivity: () => void
): Promise<void> =>
  new Promise((resolve) => {
    let rest: Buffer = Buffer.alloc(0)
    let last = Promise.resolve()
    source.on("data", (bytes: Buffer) => {
      onActivity()
      remember(bytes)
      const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
      const end = all.length > maxLine ? all.length : all.lastIndexOf("\n") + 1
      rest = all.subarray(end)
      if (end === 0) return
      source.pause()
      last = destination.write(dress(all.subarray(0, end))).then(() => {
        onActivity()
        source.resume()
      })
    })
    source.on("error", () => {})
    source.once("close", () => {
      if (rest.length > 0) last = destination.write(dress(rest))
      void last.then(resolve)
    })
  })

/** Milliseconds of silence after which nobody is waited for who holds the output of a process that has ended. */
const silence = 250
/** Milliseconds for which a reader may take nothing of the last words. */
const patience = 5_000

const closingOnFailure = <A>(descriptors: ReadonlyArray<number>, run: () => A): A => {
  try {
    return run()
  } catch (cause) {
    descriptors.forEach((descriptor) => fs.closeSync(descriptor))
    throw cause
  }
}

/** All of them or none: what is left over where none are left would keep the next one from being opened. */
const openAll = (files: ReadonlyArray<string>, flags: number): ReadonlyArray<number> => {
  const opened: Array<number> = []
  return closingOnFailure(opened, () => {
    for (const file of files) opened.push(fs.openSync(file, flags))
    return opened
  })
}

/**
 * Two pipes, as a shell would make them. Node's own `"pipe"` is a socket, and programs that log to `/dev/stdout` or
 * `/dev/stderr` cannot open one.
 */
const makePipes = async (): Promise<ReadonlyArray<{ readonly source: net.Socket; readonly end: number }>> => {
  const directory = await fs.promises.mkdtemp(path.join(os.tmpdir(), "tableflip-"))
  try {
    const names = [path.join(directory, "out"), path.join(directory, "err")]
    checkRoom(roomFor(3))
    await execFile("mkfifo", ["-m", "600", ...names])
    const { O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants
    // This side first, and without waiting for the other.
    const sources = openAll(names, O_RDONLY | O_NONBLOCK)
    // Only for writing: a child that held the reading end too would wait for ever, once the pipe is full, for a reader that
    // has died, where it should be told so (EPIPE).
    const ends = closingOnFailure(sources, () => openAll(names, O_WRONLY))
    return sources.map((descriptor, index) => ({
      source: new net.Socket({ fd: descriptor, readable: true, writable: false }),
      end: ends[index]!
    }))
  } finally {
    await fs.promises.rm(directory, { recursive: true, force: true })
  }
}

const execFile = promisify(childProcess.execFile)

export interface Output {
  /** For the standard output and error of the child. */
  readonly stdio: readonly [number | "inherit", number | "inherit"]
  /** To be called when the child has been started, or has not. */
  readonly started: () => void
  readonly lastLines: Effect.Effect<ReadonlyArray<string>>
  readonly end: Effect.Effect<void>
}

/** The child has the output of this process. */
export const inherited: Output = {
  stdio: ["inherit", "inherit"],
  started: () => {},
  lastLines: Effect.succeed([]),
  end: Effect.void
}

/** Passes on what the child prints, and keeps the last lines. The child goes without that where no pipe can be made. */
export const captured = (linePrefix = ""): Effect.Effect<Output> =>
  Effect.tryPromise(makePipes).pipe(
    Effect.map((pipes): Output => {
      const [out, err] = pipes
      if (out === undefined || err === undefined) return inherited
      const tail = makeTail()
      let activeAt = performance.now()
      const onActivity = () => {
        activeAt = performance.now()
      }
      const dress = () => linePrefix === "" ? (bytes: Buffer) => bytes : prefixLines(linePrefix)
      const destinations = [writer.to(1), writer.to(2)] as const
      const ends = Promise.all([
        passOnStream(out.source, destinations[0], tail.add, dress(), onActivity),
        passOnStream(err.source, destinations[1], tail.add, dress(), onActivity)
      ]).then(() => {})
      const quiet = Effect.async<void>((resume) => {
        const since = performance.now()
        const timer = setInterval(() => {
          const busy = destinations.filter(({ isBusy }) => isBusy())
          const at = Math.max(since, activeAt, ...busy.map(({ writtenAt }) => writtenAt()))
          if (performance.now() - at < (busy.length === 0 ? silence : patience)) return
          clearInterval(timer)
          resume(Effect.void)
        }, 20)
        return Effect.sync(() => clearInterval(timer))
      })
      return {
        stdio: [out.end, err.end],
        started: () => pipes.forEach(({ end }) => fs.closeSync(end)),
        lastLines: Effect.sync(tail.lines),
        end: Effect.raceFirst(Effect.promise(() => ends), quiet)
      }
    }),
    Effect.catchAll((error) =>
      Effect.as(logWarning(`The output is not captured, no pipe could be made: ${String(error.cause)}`), inherited)
    )
  )
