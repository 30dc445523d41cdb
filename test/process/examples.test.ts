import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { once } from "node:events"
import * as http from "node:http"
import * as net from "node:net"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { ask } from "../kit/clients.ts"
import { isEffect4 } from "../kit/effect.ts"
import { directory } from "../kit/files.ts"
import { bin } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

// Every generation inherits it with the other flags of Node, so that each one tells how it has ended.
const tellExit = `data:text/javascript,${
  encodeURIComponent(
    `import { writeSync } from "node:fs"
     process.on("exit", (code) => writeSync(1, "EXIT " + process.pid + " " + (process.exitCode ?? code) + "\\n"))`
  )
}`

/** Started as its header says. */
const startExample = (example: string, env: Record<string, string> = { PORT: "0" }) =>
  start(`examples/${example}.ts`, {
    nodeFlags: ["--import", "tsx", "--import", tellExit],
    cwd: root,
    env
  })

const askHttp = (port: number) => Effect.orDie(Effect.map(ask(port), ({ body }) => body))

/** Reads the greeting, has a word echoed, and hangs up. */
const askTcp = (port: number) =>
  Effect.async<string>((resume) => {
    let text = ""
    const socket = net.connect(port, "127.0.0.1").setEncoding("utf8")
    socket.end("echo\n")
    socket.on("data", (chunk: string) => text += chunk)
    socket.on("end", () => resume(Effect.succeed(text))).on("error", (error) => resume(Effect.die(error)))
  })

const hello = (pid: number) => `hello from process ${pid}\n`

/** `NodeRuntime.runMain` of Effect 4 tells an interruption by the exit code; within `launch` there is none. */
const interrupted = isEffect4 ? 130 : 0

const examples = [
  { example: "http", ask: askHttp, answer: hello, stopped: 0 },
  { example: "tcp", ask: askTcp, answer: (pid: number) => `${hello(pid)}echo\n`, stopped: 0 },
  { example: "plain-node", ask: askHttp, answer: hello, stopped: interrupted }
]

interface Span {
  readonly pid: number
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
}

/** A collector of OpenTelemetry, of which the spans are kept. */
const collect = Effect.gen(function*() {
  const spans: Array<Span> = []
  const server = http.createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (text: string) => {
      body += text
    })
    request.on("end", () => {
      const { resourceSpans = [] } = request.url === "/v1/traces" ? JSON.parse(body) : {}
      for (const { resource, scopeSpans } of resourceSpans) {
        const { value } = resource.attributes.find(({ key }: { readonly key: string }) => key === "process.pid")
        const pid = Number(Object.values(value)[0])
        for (const { spans: some } of scopeSpans) spans.push(...some.map((span: Span) => ({ ...span, pid })))
      }
      response.setHeader("Content-Type", "application/json").end("{}")
    })
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
    () =>
      Effect.promise(() =>
        new Promise((resolve) => {
          server.close(resolve)
          server.closeAllConnections()
        })
      )
  )
  return { spans, url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}` }
})

describe.runIf(isLinux)("examples", () => {
  for (const { answer, ask, example, stopped } of examples) {
    it.scopedLive(`${example} answers, upgrades itself and stops`, () =>
      Effect.gen(function*() {
        const program = yield* startExample(example)
        const number = (pattern: RegExp) =>
          Effect.map(program.waitFor(pattern, "30 seconds"), (match) => Number(match[1]))
        const port = yield* number(/Listening on \w+:\/\/127\.0\.0\.1:(\d+)/)
        const first = yield* number(/Process (\d+) is ready as generation 1/)
        assert.strictEqual(yield* ask(port), answer(first))

        yield* signal(first, "SIGHUP")
        const second = yield* number(/Process (\d+) has taken over as generation 2/)
        assert.notStrictEqual(second, first)
        yield* program.waitFor(new RegExp(`^EXIT ${first} 0`))
        assert.strictEqual(yield* ask(port), answer(second))

        yield* signal(second, "SIGTERM")
        yield* program.waitFor(new RegExp(`^EXIT ${second} ${stopped}$`))
        yield* onlyAlive(program, [])
      }))
  }

  it.scopedLive("tcp keeps a connection through an upgrade", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const program = yield* startExample("tcp", { PORT: String(port) })
      yield* program.waitFor(/is ready as generation 1/, "30 seconds")
      const client = yield* Effect.acquireRelease(
        Effect.sync(() => net.connect({ port, host: "127.0.0.1" }).setEncoding("utf8")),
        (client) => Effect.sync(() => client.destroy())
      )
      let received = ""
      client.on("data", (text: string) => {
        received += text
      })
      yield* eventually("the greeting", () => received === hello(program.pid))
      yield* signal(program.pid, "SIGHUP")
      const [, next] = yield* program.waitFor(/Process (\d+) has taken over as generation 2/, "30 seconds")
      yield* program.waitFor(new RegExp(`^EXIT ${program.pid} 0`))
      client.write("echo\n")
      yield* eventually("the echo", () => received === `${hello(program.pid)}echo\n`)
      yield* signal(Number(next), "SIGTERM")
    }))

  it.scopedLive("prometheus counts through an upgrade", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const program = yield* startExample("prometheus", { PORT: String(port) })
      yield* program.waitFor(/is ready as generation 1/, "30 seconds")
      yield* Effect.repeatN(askHttp(port), 4)
      yield* signal(program.pid, "SIGHUP")
      const [, next] = yield* program.waitFor(/Process (\d+) has taken over as generation 2/, "30 seconds")
      yield* program.waitFor(new RegExp(`^EXIT ${program.pid} 0`))
      yield* askHttp(port)
      const metrics = yield* Effect.map(Effect.orDie(ask(port, { path: "/metrics" })), ({ body }) => body)
      assert.include(metrics, "# TYPE http_requests_total counter\nhttp_requests_total 6\n")
      assert.include(metrics, "tableflip_generation 2\n")
      assert.include(metrics, `tableflip_upgrades_total{outcome="upgraded"} 1\n`)
      assert.include(metrics, `tableflip_start_duration_seconds_bucket{le="+Inf"} 1\n`)
      yield* signal(Number(next), "SIGTERM")
      yield* program.waitFor(new RegExp(`^EXIT ${next} 0`))
    }))

  it.scopedLive("opentelemetry sends one trace of an upgrade from both processes, and what is left at the end", () =>
    Effect.gen(function*() {
      const collector = yield* collect
      const program = yield* startExample("opentelemetry", { PORT: "0", OTLP_URL: collector.url })
      yield* program.waitFor(/is ready as generation 1/, "30 seconds")
      yield* signal(program.pid, "SIGHUP")
      const [, next] = yield* program.waitFor(/Process (\d+) has taken over as generation 2/, "30 seconds")
      yield* program.waitFor(new RegExp(`^EXIT ${program.pid} 0`))
      yield* signal(Number(next), "SIGTERM")
      yield* program.waitFor(new RegExp(`^EXIT ${next} `))
      const of = (pid: number | string, name: string) =>
        collector.spans.filter((span) => span.pid === Number(pid) && span.name === name)
      const [upgrade] = of(program.pid, "tableflip.upgrade")
      const [begun] = of(next!, "tableflip.start")
      assert.isDefined(upgrade)
      assert.deepInclude(begun, { traceId: upgrade?.traceId, parentSpanId: upgrade?.spanId })
      assert.isNotEmpty(of(program.pid, "tableflip.drain"))
      assert.isNotEmpty(of(next!, "tableflip.drain"))
    }))

  it.scopedLive("control is reloaded and stopped by the command, which waits for it", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "control.sock")
      const program = yield* startExample("control", { PORT: "0", CONTROL: socket })
      yield* program.waitFor(/is ready as generation 1/, "30 seconds")
      const [, port] = yield* program.waitFor(/Listening on \w+:\/\/127\.0\.0\.1:(\d+)/)
      const tableflip = (...args: ReadonlyArray<string>) =>
        Effect.promise(() =>
          promisify(execFile)(process.execPath, [bin, ...args], {
            env: { ...process.env, TABLEFLIP_CONTROL_SOCKET: socket }
          }).then(({ stdout }) => stdout)
        )
      const status = Effect.map(tableflip("status", "--json"), (text) => JSON.parse(text))
      assert.deepInclude(yield* status, { generation: 1, state: "serving", pid: program.pid })
      assert.include(yield* tableflip("reload", "--wait", "ended"), "reloaded: generation 2 serves")
      const { pid } = yield* status
      assert.strictEqual(yield* askHttp(Number(port)), hello(pid))
      yield* tableflip("stop", "--wait", "ended")
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("workers answers, counts, is replaced, resized and upgraded, and stops", () =>
    Effect.gen(function*() {
      const [port, metrics, admin] = yield* Effect.all([freePort, freePort, freePort])
      const program = yield* startExample("workers", {
        PORT: String(port),
        METRICS_PORT: String(metrics),
        ADMIN_PORT: String(admin)
      })
      yield* program.waitFor(new RegExp(`Process ${program.pid} is ready as generation 1`), "60 seconds")
      assert.match(yield* askHttp(port), /^hello from worker [01], process \d+\n$/)
      assert.match(yield* askHttp(metrics), /^requests_total\{worker="[01]"\} 1\n$/)
      assert.strictEqual(yield* post(admin, "/replace"), "replaced\n")
      assert.strictEqual(yield* post(admin, "/size/1"), "1\n")
      const before = yield* askHttp(port)
      assert.match(before, /^hello from worker 0, /)
      yield* signal(program.pid, "SIGHUP")
      const [next] = yield* program.waitFor(/Process (\d+) has taken over as generation 2/, "60 seconds").pipe(
        Effect.map((match) => match.slice(1).map(Number))
      )
      yield* program.waitFor(new RegExp(`^EXIT ${program.pid} 0`))
      assert.notStrictEqual(yield* askHttp(port), before)
      yield* signal(next!, "SIGTERM")
      yield* program.waitFor(new RegExp(`^EXIT ${next} 0`))
      yield* onlyAlive(program, [])
    }))
})

const post = (port: number, path: string) =>
  Effect.promise(() => fetch(`http://127.0.0.1:${port}${path}`, { method: "POST" }).then((answer) => answer.text()))
