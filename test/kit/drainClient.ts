/**
 * A client that sees what a polite one hides: each response as it came, and how the connection ended.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { EventEmitter, once } from "node:events"
import type { AddressInfo } from "node:net"
import * as net from "node:net"
import * as tls from "node:tls"
import { until } from "./waiting.ts"

export interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

export interface Response extends Head {
  readonly body: Buffer
}

export interface Client {
  readonly socket: net.Socket
  readonly send: (...data: ReadonlyArray<string | Buffer>) => Effect.Effect<void>
  /** The head of the response that is next, as soon as it is there. */
  readonly head: Effect.Effect<Head>
  /** The next response, interim ones included; dies if the connection ends before it is complete. */
  readonly response: Effect.Effect<Response>
  /** How the server ended the connection. */
  readonly closed: Effect.Effect<"end" | "reset">
}

/** A promise that the test keeps. */
export const makeGate = (): { readonly opened: Promise<void>; readonly open: Effect.Effect<void> } => {
  const emitter = new EventEmitter()
  return {
    opened: once(emitter, "open").then(() => undefined),
    open: Effect.sync(() => emitter.emit("open"))
  }
}

const parseHead = (text: string): Head => {
  const [start = "", ...lines] = text.split("\r\n")
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(":")
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  return { status: Number(start.split(" ")[1]), headers }
}

/** Length of the first complete chunked body in `input`, and its content. */
const parseChunked = (input: Buffer): { readonly length: number; readonly body: Buffer } | undefined => {
  const parts: Array<Buffer> = []
  let offset = 0
  for (;;) {
    const line = input.indexOf("\r\n", offset)
    if (line < 0) return undefined
    const size = parseInt(input.toString("latin1", offset, line), 16)
    const end = line + 2 + size + 2
    if (input.length < end) return undefined
    if (size === 0) return { length: end, body: Buffer.concat(parts) }
    parts.push(input.subarray(line + 2, line + 2 + size))
    offset = end
  }
}

/** Follows what a connected socket receives. */
export const follow = (socket: net.Socket): Client => {
  const chunks: Array<Buffer> = []
  let ended: "end" | "reset" | undefined
  let size = 0
  // joining the chunks is worth it only when so much is there
  let wanted = 0
  socket.on("data", (chunk) => {
    chunks.push(chunk)
    size += chunk.length
  })
  socket.on("end", () => ended ??= "end")
  socket.on("error", () => ended ??= "reset")
  socket.on("close", () => ended ??= "reset")

  const input = (): Buffer => {
    const all = Buffer.concat(chunks)
    chunks.splice(0, chunks.length, all)
    return all
  }

  const complete = (): Response | undefined => {
    if (size < wanted) return undefined
    const all = input()
    const end = all.indexOf("\r\n\r\n")
    if (end < 0) return undefined
    const head = parseHead(all.toString("latin1", 0, end))
    const start = end + 4
    const take = (length: number, body: Buffer): Response => {
      chunks.splice(0, chunks.length, all.subarray(start + length))
      size -= start + length
      wanted = 0
      return { ...head, body }
    }
    if (head.status < 200) return take(0, Buffer.alloc(0))
    if (head.headers["transfer-encoding"] === "chunked") {
      const chunked = parseChunked(all.subarray(start))
      return chunked === undefined ? undefined : take(chunked.length, chunked.body)
    }
    const length = Number(head.headers["content-length"] ?? (ended === "end" ? all.length - start : NaN))
    wanted = start + (length || 0)
    return all.length - start >= length ? take(length, all.subarray(start, start + length)) : undefined
  }

  const wait = <A>(what: string, get: () => A | undefined): Effect.Effect<A> => {
    let result: A | undefined
    return Effect.suspend(() => {
      result = undefined
      return until(what, () => (result = get()) !== undefined || ended !== undefined)
    }).pipe(
      Effect.map(() => result ?? get()),
      Effect.flatMap((result) =>
        result === undefined
          ? Effect.dieMessage(`the connection was lost (${ended}) before ${what}`)
          : Effect.succeed(result)
      )
    )
  }

  return {
    socket,
    send: (...data) =>
      Effect.sync(() => {
        socket.cork()
        for (const part of data) socket.write(part)
        socket.uncork()
      }),
    head: wait("the head of a response", () => {
      const all = input()
      const end = all.indexOf("\r\n\r\n")
      return end < 0 ? undefined : parseHead(all.toString("latin1", 0, end))
    }),
    response: wait("a response", complete),
    closed: Effect.map(until("the end of the connection", () => ended !== undefined), () => ended ?? "reset")
  }
}

export const portOf = (server: net.Server): number => (server.address() as AddressInfo).port

const release = (socket: net.Socket) => Effect.sync(() => socket.destroy())

/** Connects; keeps its side open when the server ends, as a client with an upload does. */
export const connect = (port: number): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<net.Socket>((resume) => {
      const socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.once("error", (error) => resume(Effect.die(error)))
    }),
    release
  ).pipe(Effect.map(follow))

/** The same over TLS, on a connected socket if one is given. */
export const connectTls = (
  port: number,
  options?: { readonly alpn?: string; readonly socket?: net.Socket }
): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<net.Socket>((resume) => {
      const socket = tls.connect({
        ...(options?.socket === undefined ? { port, host: "127.0.0.1" } : { socket: options.socket }),
        ALPNProtocols: [options?.alpn ?? "http/1.1"],
        rejectUnauthorized: false
      })
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
      socket.once("error", (error) => resume(Effect.die(error)))
    }),
    release
  ).pipe(Effect.map(follow))

/** Listens on a free port of the loopback interface. */
export const listen = (server: net.Server): Effect.Effect<number> =>
  Effect.async((resume) => {
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(portOf(server))))
  })

export const get = (path: string, ...headers: ReadonlyArray<string>): string =>
  [`GET ${path} HTTP/1.1`, "Host: x", ...headers, "", ""].join("\r\n")

export const post = (path: string, body: string, ...headers: ReadonlyArray<string>): string =>
  [`POST ${path} HTTP/1.1`, "Host: x", `Content-Length: ${body.length}`, ...headers, "", body].join("\r\n")
