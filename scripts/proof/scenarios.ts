/** What is proved: each scenario puts a server under one kind of load and upgrades it again and again. */
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import * as tls from "node:tls"
import type { Counts, Crowd, Tally } from "../../test/kit/crowd/crowd.ts"
import * as crowd from "../../test/kit/crowd/crowd.ts"
import { total } from "../../test/kit/crowd/crowd.ts"
import * as wrk from "../../test/kit/crowd/wrk.ts"
import type { Drained, Given, Settings } from "../../test/kit/servers/settings.ts"
import type { Target } from "../../test/kit/servers/target.ts"
import { withTarget } from "../../test/kit/servers/target.ts"
import { median } from "../../test/kit/statistics.ts"
import { cluster } from "./cluster.ts"
import { effects } from "./effects.ts"
import { fleet } from "./fleet.ts"
import { pools } from "./pool.ts"
import type { Proxy } from "./proxies.ts"
import * as proxies from "./proxies.ts"

export interface Outcome {
  readonly upgrades: number
  readonly tally: Tally
  readonly drained: ReadonlyArray<Drained>
  readonly note?: string
}

export interface Scenario {
  readonly name: string
  readonly title: string
  /** A program that must be there. */
  readonly needs?: "wrk"
  /** What else it has to do without, and so is left out. */
  readonly lacks?: () => string | undefined
  /** Mostly waits, so that it can run beside others of its kind. */
  readonly calm?: boolean
  /** What is lost by the nature of the protocol or of the client is only counted. */
  readonly onlyCounted?: boolean
  readonly run: (quick: boolean) => Promise<Outcome>
}

interface Load {
  readonly settings: Settings
  readonly upgrades: number
  readonly quick: boolean
  readonly start: (target: Target) => Crowd
  readonly upgrade?: (target: Target) => Promise<void>
  /** What stands between the clients and the server at that port. */
  readonly through?: (port: number) => Promise<Proxy>
  /** Milliseconds before the first upgrade and after the last one. */
  readonly margin?: number
}

/** A crowd that is there before the first upgrade and after the last one. */
const under = ({ margin = 500, quick, settings, start, through, upgrade, upgrades }: Load): Promise<Outcome> =>
  withTarget(settings, async (target) => {
    const proxy = await through?.(target.port)
    const clients = start({ ...target, port: proxy?.port ?? target.port })
    try {
      await sleep(margin)
      const times = quick ? Math.min(upgrades, 3) : upgrades
      for (let count = 0; count < times; count++) await (upgrade ?? target.upgrade)(target)
      await target.settled()
      await sleep(margin)
      return { upgrades: times, tally: await clients.stop(), drained: [...target.drained] }
    } finally {
      clients.end()
      await proxy?.end()
    }
  })

const withWrk = (
  name: string,
  title: string,
  options: Omit<Load, "start" | "quick">,
  load: Omit<Parameters<typeof wrk.start>[0], "url">,
  scheme = "http"
): Scenario => ({
  name,
  title,
  needs: "wrk",
  run: (quick) =>
    under({ ...options, quick, start: ({ port }) => wrk.start({ ...load, url: `${scheme}://127.0.0.1:${port}/` }) })
})

const withCrowd = (
  scenario: Omit<Scenario, "run">,
  options: Omit<Load, "start" | "quick">,
  client: string,
  load: object
): Scenario => ({
  ...scenario,
  run: (quick) => under({ ...options, quick, start: ({ port }) => crowd.start(client, { port, ...load }) })
})

const keepAlive = { connections: 32 }

const posts = (client: "sockets" | "agent" | "undici", seconds: number): Scenario => {
  const keepAliveTimeout = seconds * 1_000
  const settings: Settings = { mode: "http", keepAliveTimeout }
  const load = { client, clients: 200, longestPause: 8_000, keepAliveTimeout }
  const start = ({ port }: Target) => crowd.start("posts", { port, ...load })
  /** As long as the run with upgrades, on a server that nobody upgrades. */
  const withoutUpgrades = (until: Promise<unknown>) =>
    withTarget(settings, async (target) => {
      const clients = start(target)
      await until.catch(() => {})
      return clients.stop()
    })
  return {
    name: `posts-${client}-${seconds}`,
    title: `200 clients POST every 0-8 s (${client}), keepAliveTimeout ${seconds} s`,
    calm: true,
    run: async (quick) => {
      const run = under({ settings, quick, upgrades: quick ? 1 : 6, margin: quick ? 2_000 : 8_000, start })
      // A client that pauses for longer than the server waits fails now and then on its own.
      if (keepAliveTimeout > load.longestPause) return run
      const [outcome, ordinary] = await Promise.all([run, withoutUpgrades(run)])
      const failed = ordinary.ordinary + total(ordinary.failed)
      return {
        ...outcome,
        note:
          `the server's own keepAliveTimeout lost ${outcome.tally.ordinary}; without upgrades it lost ${failed} of ${ordinary.requests}`
      }
    }
  }
}

const streams = (secure: boolean, retry: boolean): Scenario =>
  withCrowd(
    {
      name: `http2${secure ? "" : "-clear"}${retry ? "" : "-no-retry"}`,
      title: `HTTP/2 ${secure ? "over TLS" : "in clear"}, 10 sessions x 20 streams, client ${
        retry ? "sends refused ones again" : "never retries"
      }`
    },
    { settings: { mode: secure ? "http2" : "http2-clear" }, upgrades: 10 },
    "http2",
    { secure, retry, sessions: 10, streams: 20 }
  )

/** Clients that have a ticket come back after each upgrade, and take the new ticket to the next one. */
const tickets: Scenario = {
  name: "tls-tickets",
  title: "TLS 1.2 and 1.3 sessions resumed right after an upgrade",
  run: (quick) =>
    withTarget({ mode: "https" }, async (target) => {
      const upgrades = quick ? 3 : 8
      const failed: Counts = {}
      let requests = 0
      const connect = async (version: tls.SecureVersion, session: Buffer | undefined) => {
        const socket = tls.connect({
          host: "127.0.0.1",
          port: target.port,
          rejectUnauthorized: false,
          minVersion: version,
          maxVersion: version,
          ...session === undefined ? {} : { session }
        })
        let ticket = session
        socket.on("session", (session) => {
          ticket = session
        })
        await once(socket, "secureConnect")
        const reused = socket.isSessionReused()
        socket.end("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").resume()
        await once(socket, "close")
        return { reused, ticket }
      }
      const clients = Array.from({ length: 10 }, (_, index) => ({
        version: index % 2 === 0 ? "TLSv1.2" as const : "TLSv1.3" as const,
        ticket: undefined as Buffer | undefined
      }))
      for (const client of clients) client.ticket = (await connect(client.version, undefined)).ticket
      for (let count = 0; count < upgrades; count++) {
        await target.upgrade()
        await Promise.all(clients.map(async (client) => {
          requests++
          const { reused, ticket } = await connect(client.version, client.ticket)
          if (!reused) failed[client.version] = (failed[client.version] ?? 0) + 1
          client.ticket = ticket
        }))
      }
      return { upgrades, tally: { requests, failed, again: {}, ordinary: 0 }, drained: [...target.drained] }
    })
}

/** Clients that never connect again, and number what they say, as the server does. */
const given = (name: string, title: string, mode: Given, path?: string): Scenario => ({
  name,
  title: `${title}, each connection lives through all upgrades`,
  run: async (quick) => {
    const start = ({ port }: Target) =>
      crowd.start("numbered", { port, clients: 100, ...path === undefined ? {} : { path } })
    const outcome = await under({ settings: { mode }, quick, upgrades: 20, start })
    const whole = outcome.drained.filter(({ open, handedOver }) => open === handedOver).length
    const blocked = outcome.drained.map(({ blocked }) => blocked)
    const longest = `${median(blocked)} ms at the most in the median process, ${Math.max(...blocked)} ms in the worst`
    return { ...outcome, note: `all were handed over ${whole} times; the event loop was blocked for ${longest}` }
  }
})

/** Clients that POST, which no proxy sends again, on connections that the proxy keeps open for them whatever happens. */
const behind = (name: keyof typeof proxies.kinds, title: string, mode: Settings["mode"]): Scenario => {
  const kind = proxies.kinds[name]
  return {
    name,
    title: `32 clients POST every 0-40 ms through ${title}`,
    lacks: () => proxies.isInstalled(kind) ? undefined : `${kind.command} is not installed`,
    run: async (quick) => {
      const outcome = await under({
        settings: { mode },
        quick,
        upgrades: 10,
        through: (port) => proxies.start(kind, port),
        start: ({ port }) =>
          crowd.start("posts", { port, client: "sockets", clients: 32, longestPause: 40, keepAliveTimeout: 60_000 })
      })
      // It may have answered by itself.
      if (outcome.drained.every(({ open }) => open === 0)) throw new Error(`${kind.command} kept no connection open`)
      return outcome
    }
  }
}

const longResponses: Scenario = {
  name: "streams",
  title: "50 responses that last 20 s, drainTimeout 30 s",
  calm: true,
  run: (quick) => {
    const seconds = quick ? 3 : 20
    return under({
      settings: { mode: "http", drainTimeout: 30_000 },
      quick,
      upgrades: 1,
      start: ({ port }) => crowd.start("streams", { port, clients: 50, seconds })
    })
  }
}

/** With clients that are idle for seconds a drain lasts as long, and several processes drain at the same time. */
const overlapping: Scenario = {
  name: "overlapping",
  title: "200 clients POST every 0-8 s (sockets), an upgrade every 2 s, several processes drain at once",
  calm: true,
  run: (quick) =>
    under({
      settings: { mode: "http", keepAliveTimeout: 75_000, maxDraining: 8 },
      quick,
      upgrades: 12,
      margin: 2_000,
      start: ({ port }) =>
        crowd.start("posts", { port, client: "sockets", clients: 200, longestPause: 8_000, keepAliveTimeout: 75_000 }),
      upgrade: async ({ upgradeAhead }) => {
        await upgradeAhead()
        await sleep(2_000)
      }
    })
}

export const scenarios: ReadonlyArray<Scenario> = [
  withWrk(
    "keep-alive",
    "wrk, 32 keep-alive connections, UpgradableHttpServer",
    { settings: { mode: "platform" }, upgrades: 20 },
    keepAlive
  ),
  withWrk(
    "keep-alive-https",
    "wrk, 32 keep-alive connections, UpgradableHttpServer, https",
    { settings: { mode: "platform-https" }, upgrades: 20 },
    keepAlive,
    "https"
  ),
  withWrk("keep-alive-bare", "wrk, 32 keep-alive connections, Fds.listen on http", {
    settings: { mode: "http" },
    upgrades: 20
  }, keepAlive),
  withWrk(
    "pipeline",
    "wrk, 32 connections, 8 requests in one write, Fds.listen on http",
    { settings: { mode: "http" }, upgrades: 10 },
    { connections: 32, pipelined: true }
  ),
  // Node accepts one connection between two rounds of work. With rounds as long as these, some wait in the queue of the
  // kernel for seconds, also without any upgrade.
  withWrk(
    "pipeline-platform",
    "wrk, 32 connections, 8 requests in one write, UpgradableHttpServer",
    { settings: { mode: "platform" }, upgrades: 10 },
    { connections: 32, pipelined: true, patience: 30 }
  ),
  withWrk(
    "new-connections",
    "wrk, a new connection for each request",
    { settings: { mode: "platform" }, upgrades: 20 },
    { connections: 32, headers: ["Connection: close"] }
  ),
  streams(true, true),
  streams(false, true),
  { ...streams(true, false), onlyCounted: true },
  { ...streams(false, false), onlyCounted: true },
  withCrowd(
    { name: "web-sockets", title: "100 WebSockets, client reconnects and sends again" },
    { settings: { mode: "ws" }, upgrades: 10 },
    "webSockets",
    { clients: 100 }
  ),
  given("given-web-sockets", "100 WebSockets of ws", "ws-given", "/"),
  given("given-platform-web-sockets", "100 WebSockets of UpgradableHttpServer", "platform-given", "/count"),
  given("given-tcp", "100 connections of a protocol of its own", "tcp-given"),
  behind("haproxy", "HAProxy, which keeps connections of HTTP/1.1 to the server", "http"),
  behind("haproxy-http2", "HAProxy, which speaks HTTP/2 to the server", "http2-clear"),
  behind("nginx", "nginx, which keeps connections of HTTP/1.1 to the server", "http"),
  behind("caddy", "Caddy, which keeps connections of HTTP/1.1 to the server", "http"),
  withWrk(
    "slow-start",
    "wrk, new process takes 3 s from listening to ready",
    { settings: { mode: "platform", startDelay: 3_000 }, upgrades: 4 },
    keepAlive
  ),
  withWrk(
    "crash",
    "wrk, new process crashes between listening and ready",
    {
      settings: { mode: "platform", crash: true },
      upgrades: 8,
      upgrade: ({ failToUpgrade }) => failToUpgrade()
    },
    keepAlive
  ),
  withWrk(
    "probation",
    "wrk, both processes accept for 1 s of probation",
    { settings: { mode: "platform", probation: 1_000 }, upgrades: 6 },
    keepAlive
  ),
  withCrowd(
    { name: "datagrams", title: "UDP, 4000 datagrams a second" },
    { settings: { mode: "udp" }, upgrades: 8 },
    "datagrams",
    { perSecond: 4_000 }
  ),
  withCrowd(
    { name: "tcp-goodbye", title: "TCP echo, 100 connections, the app says goodbye in onDrain" },
    { settings: { mode: "tcp-goodbye" }, upgrades: 8 },
    "echo",
    { clients: 100 }
  ),
  withCrowd(
    { name: "tcp", title: "TCP echo, 100 connections, no word from the app, drainTimeout 2 s", onlyCounted: true },
    { settings: { mode: "tcp", drainTimeout: 2_000 }, upgrades: 4 },
    "echo",
    { clients: 100 }
  ),
  effects,
  cluster,
  fleet,
  ...pools,
  tickets,
  longResponses,
  overlapping,
  posts("sockets", 75),
  posts("agent", 75),
  posts("undici", 75),
  posts("sockets", 5),
  posts("agent", 5),
  posts("undici", 5)
]
