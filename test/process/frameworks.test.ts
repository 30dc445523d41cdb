/**
 * The examples on other people's frameworks, each upgraded five times under a load that keeps its connections and does
 * not try again; and a small app on each, whose clients keep the one connection that they have.
 */
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { WebSocket } from "ws"
import { certificate } from "../kit/certificate.ts"
import { directory } from "../kit/files.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture } from "../kit/paths.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { upgrade } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"

const example = (name: string) => fileURLToPath(new URL(`../../build/examples/${name}.js`, import.meta.url))

const upgrades = 5

interface Load {
  readonly answered: () => number
  readonly failures: ReadonlyArray<string>
  /** No new request; those in flight end. */
  readonly stop: Effect.Effect<void>
}

/** Each client has one connection, and uses whatever the agent gives it when that one has been closed by an answer. */
const keepAliveLoad = (port: number, clients: number): Effect.Effect<Load, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const failures: Array<string> = []
      let answered = 0
      let stopping = false
      const agents: Array<http.Agent> = []
      const client = (): Promise<void> =>
        new Promise((resolve) => {
          const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
          agents.push(agent)
          const next = () => {
            if (stopping) return resolve()
            const request = http.get({ host: "127.0.0.1", port, agent }, (response) => {
              response.resume()
              response.on("error", (error) => failures.push(`response: ${error.message}`))
              response.on("close", () => {
                if (response.complete && response.statusCode === 200) answered++
                else failures.push(`incomplete, status ${response.statusCode}`)
                setImmediate(next)
              })
            })
            request.on("error", (error: NodeJS.ErrnoException) => {
              failures.push(`request: ${error.code ?? error.message}`)
              setImmediate(next)
            })
          }
          next()
        })
      const all = Promise.all(Array.from({ length: clients }, client))
      return {
        answered: () => answered,
        failures,
        stop: Effect.promise(() => {
          stopping = true
          return all
        }),
        agents
      }
    }),
    ({ agents, stop }) => Effect.zipRight(stop, Effect.sync(() => agents.forEach((agent) => agent.destroy())))
  )

const identity = (bytes: Buffer) => bytes

const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity
})

const Greeter = grpc.makeGenericClientConstructor({
  Hello: method("/Greeter/Hello", false, false),
  Count: method("/Greeter/Count", false, true),
  Echo: method("/Greeter/Echo", true, true)
}, "Greeter")

/** On each connection four calls at a time, and a stream in either direction; none is tried again. */
const grpcLoad = (port: number, credentials: grpc.ChannelCredentials, clients: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const failures: Array<string> = []
      const answered = { hello: 0, count: 0, echo: 0 }
      let stopping = false
      const open = Array.from({ length: clients }, () =>
        new Greeter(`localhost:${port}`, credentials, {
          "grpc.enable_retries": 0,
          "grpc.use_local_subchannel_pool": 1
        }))
      const again = (call: () => Promise<void>): Promise<void> =>
        stopping ? Promise.resolve() : call().then(() => again(call))
      const fail = (kind: string) => (error: Error) => failures.push(`${kind}: ${error.message}`)

      const hello = (client: any) => () =>
        new Promise<void>((resolve) =>
          client.Hello(Buffer.from("x"), (error: Error | null) => {
            if (error === null) answered.hello++
            else fail("hello")(error)
            resolve()
          })
        )
      /** Ends with all that was sent, or is a failure. */
      const stream =
        (kind: "count" | "echo", begin: () => grpc.ClientReadableStream<Buffer>, next: (heard: number) => void) => () =>
          new Promise<void>((resolve) => {
            let heard = 0
            const call = begin()
            call.on("data", () => next(++heard))
            call.on("error", fail(kind))
            call.on("end", () => {
              if (heard === 10) answered[kind]++
            })
            call.on("status", ({ code }) => {
              if (code === 0 && heard !== 10) failures.push(`${kind}: ${heard} of 10`)
              resolve()
            })
          })
      const echo = (client: any) => {
        let call: grpc.ClientDuplexStream<Buffer, Buffer>
        return stream("echo", () => {
          call = client.Echo()
          call.write(Buffer.from("x"))
          return call
        }, (heard) => heard === 10 ? call.end() : setTimeout(() => call.write(Buffer.from("x")), 20))
      }
      const all = Promise.all(open.flatMap((client: any) => [
        ...Array.from({ length: 4 }, () => again(hello(client))),
        again(stream("count", () => client.Count(Buffer.from("10")), () => {})),
        again(echo(client))
      ]))
      return {
        answered,
        failures,
        stop: Effect.promise(() => {
          stopping = true
          return all
        }),
        close: Effect.sync(() => open.forEach((client) => client.close()))
      }
    }),
    ({ close, stop }) => Effect.zipRight(stop, close)
  )

/** The port, once somebody answers there: it is bound and told of before the process is ready. */
const portOf = (server: Handle) =>
  server.waitFor(/is ready as generation 1\b/).pipe(
    Effect.zipRight(server.waitFor(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)),
    Effect.map((match) => Number(match[1]))
  )

const generation = (server: Handle, number: number) =>
  Effect.map(
    server.waitFor(new RegExp(`Process (\\d+) is ready as generation ${number}\\b`)),
    (match) => Number(match[1])
  )

/** The next upgrade begins when the older process has gone and the newer one has had something to do. */
const upgradeUnder = (server: Handle, work: () => number) =>
  Effect.gen(function*() {
    let pid = yield* generation(server, 1)
    for (let count = 1; count <= upgrades; count++) {
      yield* signal(pid, "SIGHUP")
      const old = pid
      pid = yield* generation(server, count + 1)
      yield* eventually(`process ${old} to end`, () => !server.alive().includes(old), { seen: server.dump })
      const before = work()
      yield* eventually("the new process to do some work", () => work() >= before + 20, { seen: server.dump })
    }
    return pid
  })

describe.sequential("frameworks under load", () => {
  for (const name of ["express", "fastify"]) {
    it.scopedLive(`${name} loses no request in ${upgrades} upgrades`, () =>
      Effect.gen(function*() {
        const server = yield* start(example(name), { env: { PORT: "0" } })
        const load = yield* keepAliveLoad(yield* portOf(server), 8)
        const last = yield* upgradeUnder(server, load.answered)
        yield* load.stop
        assert.deepStrictEqual(load.failures, [])
        yield* signal(last, "SIGTERM")
        yield* eventually("the end", () => server.alive().length === 0)
        assert.strictEqual(server.count(/ [1-9]\d* forced/), 0)
      }))
  }

  for (const isTls of [false, true]) {
    it.scopedLive(`grpc-js${isTls ? " in TLS" : ""} loses no call and no stream in ${upgrades} upgrades`, () =>
      Effect.gen(function*() {
        const dir = yield* directory
        const files = { TLS_CERTIFICATE: path.join(dir, "certificate"), TLS_KEY: path.join(dir, "key") }
        fs.writeFileSync(files.TLS_CERTIFICATE, certificate.cert)
        fs.writeFileSync(files.TLS_KEY, certificate.key)
        const server = yield* start(example("grpc"), { env: { PORT: "0", ...isTls ? files : {} } })
        const load = yield* grpcLoad(
          yield* portOf(server),
          isTls ? grpc.credentials.createSsl(Buffer.from(certificate.cert)) : grpc.credentials.createInsecure(),
          4
        )
        const { answered } = load
        const last = yield* upgradeUnder(
          server,
          () => Math.min(answered.hello, 20 * answered.count, 20 * answered.echo)
        )
        yield* load.stop
        assert.deepStrictEqual(load.failures, [])
        yield* signal(last, "SIGTERM")
        yield* eventually("the end", () => server.alive().length === 0)
        assert.strictEqual(server.count(/ [1-9]\d* forced/), 0)
      }))
  }

  it.scopedLive(`ws answers every message in ${upgrades} upgrades, to clients that connect and send again`, () =>
    Effect.gen(function*() {
      const server = yield* start(example("ws"), { env: { PORT: "0" } })
      const port = yield* portOf(server)
      const codes: Array<number> = []
      const wrong: Array<string> = []
      let answered = 0
      let stopping = false

      /** Sends one message after the other, each until it has been answered. */
      const client = (id: number): Promise<void> =>
        new Promise((resolve) => {
          let count = 0
          const connect = () => {
            const webSocket = new WebSocket(`ws://127.0.0.1:${port}`)
            const send = () => webSocket.send(`${id}.${count}`)
            webSocket.on("open", send)
            webSocket.on("message", (data) => {
              const [, echoed] = String(data).split(" ")
              if (echoed !== `${id}.${count}`) wrong.push(`${echoed} for ${id}.${count}`)
              count++
              answered++
              if (stopping) webSocket.close(1000)
              else send()
            })
            webSocket.on("error", (error) => wrong.push(error.message))
            webSocket.on("close", (code) => {
              if (stopping) return resolve()
              codes.push(code)
              connect()
            })
          }
          connect()
        })
      const clients = Promise.all(Array.from({ length: 10 }, (_, id) => client(id)))

      const last = yield* upgradeUnder(server, () => answered)
      stopping = true
      yield* Effect.promise(() => clients)
      assert.deepStrictEqual(wrong, [])
      assert.isAtLeast(codes.length, 10 * upgrades)
      assert.deepStrictEqual([...new Set(codes)], [1012])
      yield* signal(last, "SIGTERM")
      yield* eventually("the end", () => server.alive().length === 0)
    }))
})

const at = (port: number) => ({ host: "127.0.0.1", port })

const connect = (port: number) =>
  Effect.acquireRelease(Effect.promise(() => keepers.connect(at(port))), (keeper) => Effect.sync(keeper.end))

describe.sequential("connections to other people's frameworks", () => {
  for (const framework of ["express", "fastify", "hono"]) {
    it.scopedLive(`go along with three upgrades of ${framework}, busy ones and idle ones`, () =>
      Effect.gen(function*() {
        const app = yield* start(fixture("frameworks.mjs"), { app: { framework } })
        let last = yield* app.up(1)
        const busy = yield* Effect.acquireRelease(
          Effect.promise(() => keepers.crowd({ target: at(last.port), count: 16, pause: 3, posts: 0.6 })),
          (crowd) => Effect.promise(crowd.end)
        )
        const idle = yield* Effect.replicateEffect(connect(last.port), 20)
        const askIdle = Effect.promise(() => Promise.all(idle.map(({ ask }) => ask({ body: "x".repeat(100) }))))
        yield* askIdle
        for (let count = 0; count < 3; count++) {
          yield* eventually(
            "the busy ones to be answered here",
            () => (busy.generations.get(last.generation) ?? 0) > 50
          )
          const { next, report } = yield* upgrade(app, last)
          assert.deepStrictEqual([report.open, report.handedOver], [36, 36])
          last = next
        }
        for (const { pid } of yield* askIdle) assert.strictEqual(pid, last.pid)
        yield* Effect.promise(busy.rest)
        assert.deepStrictEqual(busy.failures, [])
        assert.deepStrictEqual([busy.closed(), busy.toldToGo()], [0, 0])
      }))
  }

  it.scopedLive("go along when the stream of events on them has ended with the older process", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("frameworks.mjs"), { app: { framework: "hono" } })
      const first = yield* app.up(1)
      const clients = yield* Effect.replicateEffect(connect(first.port), 4)
      const streams = yield* Effect.forEach(clients, (client) =>
        Effect.gen(function*() {
          yield* Effect.promise(() => client.ask())
          const ended = client.ask({ path: "/events" })
          return yield* Effect.forkScoped(Effect.promise(() => ended))
        }))
      yield* eventually("every stream to have begun", () => clients.every(({ isAnswering }) => isAnswering()))
      const { next, report } = yield* upgrade(app, first)
      for (const stream of streams) assert.strictEqual((yield* Fiber.join(stream)).pid, first.pid)
      assert.deepStrictEqual([report.open, report.handedOver], [4, 4])
      for (const { ask } of clients) assert.strictEqual((yield* Effect.promise(() => ask())).pid, next.pid)
    }))
})
