/** The kinds of load, each on one protocol. */
import type { Crowd } from "../../test/kit/crowd/crowd.ts"
import * as crowd from "../../test/kit/crowd/crowd.ts"
import * as held from "../../test/kit/crowd/held.ts"
import * as wrk from "../../test/kit/crowd/wrk.ts"
import type { Protocol, Subject } from "../subjects/subject.ts"

export interface Clients {
  readonly name: string
  readonly title: string
  readonly protocol: Protocol
  readonly needsWrk?: boolean
  /** How many upgrades of all, where one takes long. */
  readonly upgrades?: number
  /** Milliseconds from the end of an upgrade to the next one. */
  readonly pause: number
  readonly start: (subject: Subject, port: number) => Crowd
}

/** Seconds until wrk takes a request for lost. */
const patience = 10

const withWrk = (
  name: string,
  title: string,
  protocol: "http" | "https",
  headers: ReadonlyArray<string> = []
): Clients => ({
  name,
  title,
  protocol,
  needsWrk: true,
  pause: 200,
  start: (_, port) => wrk.start({ url: `${protocol}://127.0.0.1:${port}/`, connections: 32, patience, headers })
})

const startHeld = (port: number): Crowd => {
  const { end, stop } = held.start({ port, protocol: "http", connections: 100, period: 1_000, reconnects: true })
  return { stop: async () => ({ ...await stop(), again: {}, ordinary: 0 }), end }
}

export const clients: ReadonlyArray<Clients> = [
  {
    name: "kept",
    title:
      "100 keep-alive connections with a request a second each, which are kept for as long as the server does not end them",
    protocol: "http",
    upgrades: 9,
    pause: 1_000,
    start: (_, port) => startHeld(port)
  },
  withWrk("new", "wrk, 32 clients, a new connection for each request", "http", ["Connection: close"]),
  withWrk("keep-alive", "wrk, 32 busy keep-alive connections", "http"),
  {
    name: "posts",
    title: "100 keep-alive connections, a POST every 0 to 2 seconds",
    protocol: "http",
    // An idle connection is waited for, so that each upgrade lasts as long as the longest pause.
    upgrades: 6,
    pause: 1_000,
    start: (_, port) =>
      crowd.start("posts", { port, client: "agent", clients: 100, longestPause: 2_000, keepAliveTimeout: 5_000 })
  },
  withWrk("https", "wrk, 32 busy keep-alive connections over TLS", "https"),
  // Not h2load, which does not count the requests that were open on a connection that breaks.
  {
    name: "http2",
    title: "HTTP/2 over TLS, 10 sessions of 20 busy streams; refused streams are sent again",
    protocol: "http2",
    upgrades: 9,
    pause: 200,
    start: (_, port) => crowd.start("http2", { port, secure: true, retry: true, sessions: 10, streams: 20 })
  },
  {
    name: "websocket",
    title: "100 WebSockets, echo; the client reconnects and sends what was not answered again",
    protocol: "ws",
    upgrades: 9,
    pause: 200,
    start: ({ webSocketPath = "/" }, port) => crowd.start("webSockets", { port, clients: 100, path: webSocketPath })
  }
]
