/**
 * Servers of every kind, with a real upgrade in between.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import * as http2 from "node:http2"
import * as https from "node:https"
import * as net from "node:net"
import * as tls from "node:tls"
import { WebSocket } from "ws"
import { certificate } from "../kit/certificate.ts"
import { ask } from "../kit/clients.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle, Up } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const startServer = (server: string, app: object = {}) =>
  Effect.gen(function*() {
    const handle = yield* start(fixture("servers.mjs"), { app: { server, certificate, ...app } })
    return { handle, first: yield* handle.up(1) }
  })

/** The new process, which has taken over. */
const upgrade = (handle: Handle, up: Up) => Effect.zipRight(signal(up.pid, "SIGHUP"), handle.up(up.generation + 1))

/** What the drain of a process has told: how many connections, and how they ended. */
const drained = (handle: Handle, up: Up) =>
  Effect.map(
    handle.waitFor(new RegExp(`^EVENT ${up.pid} Drained (.*)`)),
    (match) => JSON.parse(match[1]!).report.servers[0] as { readonly open: number; readonly forced: number }
  )

const port = ({ port }: Up) => ({ host: "127.0.0.1", port })

describe.runIf(isLinux)("https", () => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.scopedLive(`a ${version} session is resumed at the new process`, () =>
      Effect.gen(function*() {
        const { first, handle } = yield* startServer("https")
        const connect = (up: Up, session?: Buffer) =>
          Effect.promise(async () => {
            const socket = tls.connect({
              ...port(up),
              rejectUnauthorized: false,
              minVersion: version,
              maxVersion: version,
              ...session === undefined ? {} : { session }
            })
            let ticket: Buffer | undefined
            socket.on("session", (session) => {
              ticket = session
            })
            socket.end("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            let text = ""
            socket.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
            await once(socket, "secureConnect")
            const resumed = socket.isSessionReused()
            await once(socket, "close")
            return { resumed, ticket, answeredBy: Number(text.split("\r\n\r\n")[1]) }
          })
        const fresh = yield* connect(first)
        assert.deepStrictEqual([fresh.resumed, fresh.answeredBy], [false, first.pid])
        let up = first
        let ticket = fresh.ticket
        for (let count = 0; count < 2; count++) {
          up = yield* upgrade(handle, up)
          yield* handle.waitFor(new RegExp(`^ALONE ${up.pid}`))
          const again = yield* connect(up, ticket)
          assert.deepStrictEqual([again.resumed, again.answeredBy], [true, up.pid])
          ticket = again.ticket ?? ticket
        }
      }))
  }
})

const askHttps = (up: Up) =>
  Effect.promise(() =>
    new Promise<number>((resolve, reject) => {
      https.get({ ...port(up), agent: false, rejectUnauthorized: false }, (response) => {
        let body = ""
        response.setEncoding("utf8").on("data", (chunk: string) => body += chunk)
        response.on("end", () => resolve(Number(body)))
      }).on("error", reject)
    })
  )

const connectHttp2 = (up: Up): Effect.Effect<http2.ClientHttp2Session, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => http2.connect(`https://127.0.0.1:${up.port}`, { rejectUnauthorized: false })),
    (session) => Effect.sync(() => session.destroy())
  )

const askHttp2 = (session: http2.ClientHttp2Session) =>
  Effect.promise(() =>
    new Promise<number>((resolve, reject) => {
      let body = ""
      const stream = session.request({ ":path": "/" })
      stream.setEncoding("utf8").on("data", (chunk: string) => body += chunk)
      stream.on("end", () => resolve(Number(body))).on("error", reject)
    })
  )

describe.runIf(isLinux)("UpgradableHttpServer", () => {
  for (const server of ["router-https", "router-http2"]) {
    it.scopedLive(`on ${server.slice(7)} answers before and after an upgrade`, () =>
      Effect.gen(function*() {
        const { first, handle } = yield* startServer(server)
        assert.strictEqual(yield* askHttps(first), first.pid)
        const second = yield* upgrade(handle, first)
        assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
        assert.strictEqual(yield* askHttps(second), second.pid)
      }))
  }

  it.scopedLive("sends an HTTP/2 session away when its next request has been answered", () =>
    Effect.gen(function*() {
      const { first, handle } = yield* startServer("router-http2")
      const session = yield* connectHttp2(first)
      const goneAway = Effect.promise(() => once(session, "goaway"))
      assert.strictEqual(yield* askHttp2(session), first.pid)
      const second = yield* upgrade(handle, first)
      yield* handle.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      const waiting = yield* Effect.fork(goneAway)
      yield* Effect.yieldNow()
      assert.strictEqual(yield* askHttp2(session), first.pid)
      yield* waiting
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      assert.strictEqual(yield* askHttp2(yield* connectHttp2(second)), second.pid)
    }))

  it.scopedLive("closes the WebSocket of a route with 1012, and the client finds the new process", () =>
    Effect.gen(function*() {
      const { first, handle } = yield* startServer("router")
      const connect = (up: Up) =>
        Effect.acquireRelease(
          Effect.promise(async () => {
            const webSocket = new WebSocket(`ws://127.0.0.1:${up.port}/echo`)
            await once(webSocket, "open")
            return webSocket
          }),
          (webSocket) => Effect.sync(() => webSocket.terminate())
        )
      const echo = (webSocket: WebSocket) =>
        Effect.promise(async () => {
          webSocket.send("hi")
          return String((await once(webSocket, "message"))[0])
        })
      const webSocket = yield* connect(first)
      let code = 0
      webSocket.on("close", (given) => {
        code = given
      })
      assert.strictEqual(yield* echo(webSocket), `${first.pid} hi`)
      const second = yield* upgrade(handle, first)
      yield* eventually("the close frame", () => code !== 0, { seen: handle.dump })
      assert.strictEqual(code, 1012)
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      assert.strictEqual((yield* drained(handle, first)).forced, 0)
      assert.strictEqual(yield* echo(yield* connect(second)), `${second.pid} hi`)
    }))

  it.scopedLive("serves an HttpApi and its uploads before and after an upgrade", () =>
    Effect.gen(function*() {
      const { first, handle } = yield* startServer("api")
      const both = (up: Up) =>
        Effect.gen(function*() {
          const { body } = yield* ask(up.port, { path: "/name/joe" })
          assert.deepStrictEqual(JSON.parse(body), { pid: up.pid, name: "joe" })
          const form = new FormData()
          form.set("title", "a title")
          form.set("file", new Blob(["x".repeat(100_000)]), "file.txt")
          const answer = yield* Effect.promise(async () => {
            const response = await fetch(`http://127.0.0.1:${up.port}/upload`, { method: "POST", body: form })
            return response.json() as Promise<unknown>
          })
          assert.deepStrictEqual(answer, { pid: up.pid, title: "a title", content: "x".repeat(100_000) })
        })
      yield* both(first)
      const second = yield* upgrade(handle, first)
      yield* handle.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      // On the connection that fetch keeps, the old process may answer once more; a new one leads to the new process.
      yield* ask(second.port, { path: "/name/joe" })
      yield* handle.waitFor(new RegExp(`^EXIT ${first.pid} 0`))
      yield* both(second)
    }))
})

/** A client of lines. */
const connectTcp = (up: Up) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = net.connect(up.port, "127.0.0.1")
      let text = ""
      let closed = false
      socket.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
      socket.on("error", () => {}).on("close", () => {
        closed = true
      })
      return {
        socket,
        said: (line: string) => eventually(line, () => text.includes(`${line}\n`), { seen: () => text }),
        end: eventually("the end of the connection", () => closed),
        isClosed: () => closed
      }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

describe.runIf(isLinux)("UpgradableSocketServer", () => {
  it.scopedLive("lets a connection finish where it is; new ones go to the new process", () =>
    Effect.gen(function*() {
      const { first, handle } = yield* startServer("sockets")
      const old = yield* connectTcp(first)
      yield* old.said(`hello ${first.pid}`)
      const second = yield* upgrade(handle, first)
      yield* handle.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      const young = yield* connectTcp(second)
      yield* young.said(`hello ${second.pid}`)
      old.socket.write("one\n")
      yield* old.said("one")
      assert.strictEqual(handle.count(/^EXIT/), 0)
      old.socket.end()
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      assert.strictEqual((yield* drained(handle, first)).forced, 0)
      assert.strictEqual(handle.count(new RegExp(`^HANDLED ${first.pid}`)), 1)
    }))

  it.scopedLive("cuts a connection that lasts longer than drainTimeout", () =>
    Effect.gen(function*() {
      const { first, handle } = yield* startServer("sockets", { upgrader: { drainTimeout: 300, forcedExitCode: 7 } })
      const old = yield* connectTcp(first)
      yield* old.said(`hello ${first.pid}`)
      yield* upgrade(handle, first)
      yield* old.end
      assert.deepStrictEqual(yield* handle.exit, { code: 7, signal: null })
      const { forced, open } = yield* drained(handle, first)
      assert.deepStrictEqual([open, forced], [1, 1])
      assert.strictEqual(handle.count(new RegExp(`^HANDLED ${first.pid}`)), 1)
    }))

  it.scopedLive("keeps a connection that comes before `run`, and closes the one whose handler has ended", () =>
    Effect.gen(function*() {
      const { first } = yield* startServer("sockets", { runAfter: 300 })
      const early = yield* connectTcp(first)
      early.socket.write("early\n")
      yield* early.said(`hello ${first.pid}`)
      yield* early.said("early")
      assert.isFalse(early.isClosed())
      early.socket.write("quit\n")
      yield* early.end
    }))
})
