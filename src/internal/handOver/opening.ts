/**
 * The request that has opened a WebSocket: it travels with the connection, and the newer process's own handlers answer it
 * once more. Of their answer the client sees nothing, because it has one.
 *
 * @internal
 */
import type { IncomingMessage } from "node:http"
import type * as net from "node:net"
import { closesAs } from "../node/internals.ts"
import type { Opening } from "../wire/channel.ts"

type Request = Pick<IncomingMessage, "method" | "rawHeaders" | "url">

/** What requests have asked for that are to become WebSockets. */
const urls = new WeakMap<Request, string | undefined>()

/**
 * Has a server keep what its WebSockets have been asked for, because handlers change it: routers take away what they have
 * matched, and express-ws adds something. Only while somebody else listens: without listeners Node upgrades nothing.
 */
export const keepUrls = (server: net.Server): void => {
  const keep = (request: Request) => void urls.set(request, request.url)
  const others = () => server.listeners("upgrade").filter((listener) => listener !== keep)
  const begin = () => {
    if (!server.listeners("upgrade").includes(keep)) server.prependListener("upgrade", keep)
  }
  if (others().length > 0) begin()
  server.on("newListener", (event, listener) => {
    if (event === "upgrade" && listener !== keep) begin()
  })
  server.on("removeListener", (event) => {
    if (event === "upgrade" && others().length === 0) server.off("upgrade", keep)
  })
}

export const openingOf = (request: Request, protocol: string): Opening => ({
  method: request.method ?? "GET",
  url: urls.get(request) ?? request.url ?? "/",
  headers: request.rawHeaders,
  protocol
})

/** None was agreed on with this client, and now it is too late. */
const extensions = "sec-websocket-extensions"

const requestOf = ({ headers, method, url }: Opening): Buffer => {
  const fields = headers.flatMap((name, index) =>
    index % 2 === 1 || name.toLowerCase() === extensions ? [] : [`${name}: ${headers[index + 1]}`]
  )
  return Buffer.from([`${method} ${url} HTTP/1.1`, ...fields, "", ""].join("\r\n"), "latin1")
}

const field = (head: string, name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, "im").exec(head)?.[1] ?? ""

/** Whether an answer is the one that the client has had. */
const isSame = (head: string, { protocol }: Opening) =>
  head.startsWith("HTTP/1.1 101 ") && field(head, extensions) === "" &&
  field(head, "sec-websocket-protocol") === protocol

/** A frame that says 1012, "service restart" (RFC 6455, 5.5.1): not masked, as it is a server's. */
const restart = (): Buffer => {
  const reason = Buffer.from("service restart")
  return Buffer.concat([Buffer.from([0x88, reason.length + 2, 1012 >> 8, 1012 & 0xff]), reason])
}

/** Most of what a handler may write before the end of its answer's headers. */
const maxHead = 64 * 1024

/** Milliseconds in which a client that is told to come again can hang up. */
const lingerTimeout = 2_000

type Write = (chunk: string | Uint8Array, encoding?: unknown, callback?: unknown) => boolean

const callBack = (encoding: unknown, callback: unknown) => {
  const written = typeof encoding === "function" ? encoding : callback
  if (typeof written === "function") process.nextTick(written as () => void)
}

/** Keeps the next answer from the client; if it is another one than the client has had, the client is told to come again. */
const swallowAnswer = (socket: net.Socket, opening: Opening) => {
  const own = { write: socket.write, end: socket.end, destroy: socket.destroy }
  let seen = Buffer.alloc(0)
  const restore = () => Object.assign(socket, own)
  const destroy = (cause?: Error) => own.destroy.call(socket, cause)
  /** What a handler still has to say of its refusal is for nobody. */
  const discard: Write = (_, encoding, callback) => {
    callBack(encoding, callback)
    return true
  }
  const refuse = () => {
    // What the client has sent meanwhile would have the kernel reset the connection, and take the frame from it.
    const over = () => {
      clearTimeout(timer)
      // A handler that goes on waiting for a WebSocket has lost it.
      closesAs(socket, "cutOff")
      destroy()
    }
    const timer = setTimeout(over, lingerTimeout)
    own.end.call(socket, restart())
    Object.assign(socket, {
      write: discard,
      end: () => socket,
      destroy: (cause?: Error) => cause === undefined ? socket : destroy(cause)
    })
    socket.once("end", over).once("close", () => clearTimeout(timer)).resume()
  }
  const hear = (chunk: unknown, encoding: unknown) => {
    if (typeof chunk !== "string" && !(chunk instanceof Uint8Array)) return
    const bytes = typeof chunk === "string" ? Buffer.from(chunk, encoding as BufferEncoding) : chunk
    seen = Buffer.concat([seen, bytes])
  }
  const write: Write = (chunk, encoding, callback) => {
    hear(chunk, typeof encoding === "string" ? encoding : undefined)
    callBack(encoding, callback)
    const end = seen.indexOf("\r\n\r\n")
    if (end < 0) {
      if (seen.length > maxHead) refuse()
      return true
    }
    if (!isSame(seen.toString("latin1", 0, end), opening)) {
      refuse()
      return true
    }
    restore()
    return end + 4 === seen.length || socket.write(seen.subarray(end + 4))
  }
  Object.assign(socket, {
    write,
    end: () => {
      refuse()
      return socket
    },
    destroy: (cause?: Error) => {
      if (cause === undefined) refuse()
      else destroy(cause)
      return socket
    }
  })
}

/** Has the server of a connection that it has just accepted, and not read, answer the request that has opened it. */
export const replay = (socket: net.Socket, opening: Opening): void => {
  swallowAnswer(socket, opening)
  socket.emit("data", requestOf(opening))
}
