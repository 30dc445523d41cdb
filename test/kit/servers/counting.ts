/**
 * Servers that count what they hear and say on each connection, from the first process to the last: the numbers go along.
 * A message is `<number> <anything>`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as http from "node:http"
import * as net from "node:net"
import { WebSocketServer } from "ws"
import * as ConnectionState from "../../../src/ConnectionState.ts"
import type * as HandOver from "../../../src/HandOver.ts"

const counts = ConnectionState.make(
  "counts.v1",
  Schema.Struct({
    heard: Schema.Number,
    pushed: Schema.Number,
    /** The half of a line. */
    rest: Schema.String
  })
)

export const takes: ReadonlyArray<string> = [counts.key]

/** Milliseconds between two messages that nobody has asked for. */
const pushInterval = 20

export interface Session {
  /** Hears a message and says what is to be answered. */
  readonly hear: (message: string) => string
  readonly push: () => string
  /** The whole lines of what has come. */
  readonly lines: (chunk: string) => ReadonlyArray<string>
}

export const begin = (connection: HandOver.Connection): Session => {
  const came = Option.getOrElse(Effect.runSync(counts.take(connection)), () => ({ heard: 0, pushed: 0, rest: "" }))
  let { heard, pushed, rest } = came
  counts.give(connection, () => Option.some({ heard, pushed, rest }))
  return {
    hear: (message) => {
      const [number] = message.split(" ", 1)
      return Number(number) === heard + 1 ? `heard ${++heard}` : `${number} came after ${heard}`
    },
    push: () => `push ${++pushed}`,
    lines: (chunk) => {
      const lines = (rest + chunk).split("\n")
      rest = lines.pop() ?? ""
      return lines
    }
  }
}

export const webSockets = (): http.Server => {
  const server = http.createServer()
  new WebSocketServer({ server }).on("connection", (webSocket, request) => {
    const session = begin(request)
    const pushing = setInterval(() => webSocket.send(session.push()), pushInterval)
    webSocket.on("message", (message) => webSocket.send(session.hear(String(message))))
    webSocket.on("error", () => webSocket.terminate()).on("close", () => clearInterval(pushing))
  })
  return server
}

export const sockets = (): net.Server =>
  net.createServer((socket) => {
    const session = begin(socket)
    const pushing = setInterval(() => socket.write(`${session.push()}\n`), pushInterval)
    socket.on("data", (chunk) => {
      for (const line of session.lines(String(chunk))) socket.write(`${session.hear(line)}\n`)
    })
    socket.on("error", () => socket.destroy()).on("close", () => clearInterval(pushing))
  })
