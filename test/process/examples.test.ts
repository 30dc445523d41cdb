import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as http from "node:http"
import * as net from "node:net"
import { createInterface } from "node:readline"

// Every generation inherits it with the other flags of Node, so that each one tells how it has ended.
const tellExit = `data:text/javascript,${
  encodeURIComponent(
    `import { writeSync } from "node:fs"
     process.on("exit", (code) => writeSync(1, "Process " + process.pid + " exits with " + code + "\\n"))`
  )
}`

interface Program {
  /** The groups of the first line that matches, of those already printed or still to come. */
  readonly line: (pattern: RegExp) => Effect.Effect<ReadonlyArray<string>>
  readonly signal: (pid: number, signal: NodeJS.Signals) => Effect.Effect<void>
  /** Completes when no generation has its standard output open, which is when all have ended. */
  readonly ended: Effect.Effect<void>
}

const start = (example: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, ["--import", "tsx", "--import", tellExit, `examples/${example}.ts`], {
        env: { ...process.env, PORT: "0" },
        stdio: ["ignore", "pipe", "inherit"]
      })
      const lines: Array<string> = []
      const waiting = new Set<() => void>()
      createInterface(child.stdout).on("line", (line) => {
        lines.push(line)
        for (const check of waiting) check()
      })
      let open = true
      const closed = new Promise<void>((resolve) =>
        child.stdout.once("close", () => {
          open = false
          resolve()
        })
      )

      const line: Program["line"] = (pattern) =>
        Effect.async<ReadonlyArray<string>>((resume) => {
          const check = () => {
            for (const line of lines) {
              const found = pattern.exec(line)
              if (found === null) continue
              waiting.delete(check)
              return resume(Effect.succeed(found.slice(1)))
            }
          }
          waiting.add(check)
          check()
          return Effect.sync(() => waiting.delete(check))
        }).pipe(
          Effect.timeoutFail({
            duration: "30 seconds",
            onTimeout: () => new Error(`no line ${pattern} in:\n${lines.join("\n")}`)
          }),
          Effect.orDie
        )

      const program: Program = {
        line,
        signal: (pid, signal) => Effect.sync(() => process.kill(pid, signal)),
        ended: Effect.promise(() => closed)
      }
      const end = async () => {
        const started = lines.flatMap((line) => /Started process (\d+)/.exec(line)?.slice(1) ?? [])
        for (const pid of open ? [child.pid!, ...started.map(Number)] : []) {
          try {
            process.kill(pid, "SIGKILL")
          } catch {
            // It has ended.
          }
        }
        await closed
      }
      return { program, end }
    }),
    ({ end }) => Effect.promise(end)
  ).pipe(Effect.map(({ program }) => program))

const askHttp = (port: number) =>
  Effect.async<string>((resume) => {
    const fail = (error: Error) => resume(Effect.die(error))
    http.get({ host: "127.0.0.1", port, agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (chunk: string) => body += chunk)
      response.on("end", () => resume(Effect.succeed(body))).on("error", fail)
    }).on("error", fail)
  })

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

const examples = [
  { example: "http", ask: askHttp, answer: hello },
  { example: "tcp", ask: askTcp, answer: (pid: number) => `${hello(pid)}echo\n` },
  { example: "plain-node", ask: askHttp, answer: hello }
]

describe("examples", () => {
  for (const { answer, ask, example } of examples) {
    it.scopedLive(`${example} answers, upgrades itself and stops`, () =>
      Effect.gen(function*() {
        const program = yield* start(example)
        const port = Number((yield* program.line(/Listening on \w+:\/\/127\.0\.0\.1:(\d+)/))[0])
        const first = Number((yield* program.line(/Process (\d+) is ready as generation 1/))[0])
        assert.strictEqual(yield* ask(port), answer(first))

        yield* program.signal(first, "SIGHUP")
        const second = Number((yield* program.line(/Process (\d+) has taken over as generation 2/))[0])
        assert.notStrictEqual(second, first)
        assert.strictEqual(yield* ask(port), answer(second))
        yield* program.line(new RegExp(`Process ${first} exits with 0`))

        yield* program.signal(second, "SIGTERM")
        yield* program.line(new RegExp(`Process ${second} exits with 0`))
        yield* program.ended
      }), 60_000)
  }
})
