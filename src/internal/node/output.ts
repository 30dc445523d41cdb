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

/**
 * Writes without `process.stdout`, which blocks this process, signals and all, for as long as the reader of a pipe is
 * busy. Here only the child is held up, as it would be if it had the pipe itself.
 */
const write = (descriptor: number, bytes: Buffer, done: (error?: Error) => void): void =>
  fs.write(descriptor, bytes, (error, written) => {
    if (error?.code === "EAGAIN") {
      setTimeout(() => write(descriptor, bytes, done), busyDelay)
    } else if (error !== null) {
      done(error)
    } else if (written < bytes.length) {
      write(descriptor, bytes.subarray(written), done)
    } else {
      done()
    }
  })

/** Milliseconds until a pipe that was full is tried again. */
const busyDelay = 20

const passOnStream = (source: stream.Readable, descriptor: number, remember: (bytes: Buffer) => void): Promise<void> =>
  new Promise((resolve) => {
    let isLost = false
    let writing = false
    let ended = false
    const settle = () => {
      if (ended && !writing) resolve()
    }
    source.on("data", (bytes: Buffer) => {
      remember(bytes)
      if (isLost) return
      writing = true
      source.pause()
      write(descriptor, bytes, (error) => {
        writing = false
        // Where nobody reads our output any more, what the child says is thrown away.
        isLost ||= error !== undefined
        source.resume()
        settle()
      })
    })
    source.on("error", () => {})
    source.once("close", () => {
      ended = true
      settle()
    })
  })

/**
 * Two pipes, as a shell would make them. Node's own `"pipe"` is a socket, and programs that log to `/dev/stdout` or
 * `/dev/stderr` cannot open one.
 */
const makePipes = async (): Promise<ReadonlyArray<{ readonly source: net.Socket; readonly end: number }>> => {
  const directory = await fs.promises.mkdtemp(path.join(os.tmpdir(), "tableflip-"))
  try {
    const names = [path.join(directory, "out"), path.join(directory, "err")]
    await execFile("mkfifo", ["-m", "600", ...names])
    return names.map((name) => {
      // This side first, and without waiting for the other.
      const descriptor = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
      // Only for writing: a child that held the reading end too would wait for ever, once the pipe is full, for a reader
      // that has died, where it should be told so (EPIPE).
      const end = fs.openSync(name, fs.constants.O_WRONLY)
      return { source: new net.Socket({ fd: descriptor, readable: true, writable: false }), end }
    })
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
export const captured: Effect.Effect<Output> = Effect.tryPromise(makePipes).pipe(
  Effect.map((pipes): Output => {
    const [out, err] = pipes
    if (out === undefined || err === undefined) return inherited
    const tail = makeTail()
    const ends = Promise.all([passOnStream(out.source, 1, tail.add), passOnStream(err.source, 2, tail.add)])
    return {
      stdio: [out.end, err.end],
      started: () => pipes.forEach(({ end }) => fs.closeSync(end)),
      lastLines: Effect.sync(tail.lines),
      end: Effect.asVoid(Effect.promise(() => ends))
    }
  }),
  Effect.catchAll((error) =>
    Effect.as(Effect.logWarning(`The output is not captured, no pipe could be made: ${String(error.cause)}`), inherited)
  )
)
