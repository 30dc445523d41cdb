/**
 * Workers that are recycled while they serve.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as http from "node:http"
import { ask, load } from "../kit/clients.ts"
import { fixture } from "../kit/paths.ts"
import type { Handle } from "../kit/processes.ts"
import { start } from "../kit/processes.ts"
import { until } from "../kit/waiting.ts"

const startPool = (app: object) =>
  Effect.gen(function*() {
    const program = yield* start(fixture("workers.mjs"), { app })
    yield* program.up(1)
    const [, port] = yield* program.waitFor(/^WORKER \d+ \d+ \d+ \d+ (\d+)/)
    return { program, port: Number(port) }
  })

/** How many processes there were at most at the same time, as the events tell. */
const most = (program: Handle) => {
  let now = 0
  let most = 0
  for (const line of program.lines()) {
    if (/^EVENT \d+ Started/.test(line)) now += 1
    if (/^EVENT \d+ Exited/.test(line)) now -= 1
    most = Math.max(most, now)
  }
  return most
}

/** Clients that each keep one connection, and count what fails on it. */
const keptAlive = (port: number, clients: number) =>
  Effect.gen(function*() {
    const failures: Array<string> = []
    let going = true
    const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
    const client = Effect.async<void>((resume) => {
      const request = http.get({ port, agent }, (response) => {
        response.resume()
        response.once("end", () => resume(Effect.void))
      })
      request.once("error", (error) => {
        // A server may close an idle connection at the moment at which it is used, which a client repeats (RFC 9110).
        failures.push(error.message)
        resume(Effect.void)
      })
    }).pipe(Effect.zipRight(Effect.sleep("2 millis")), Effect.repeat({ while: () => going }))
    const fibers = yield* Effect.replicateEffect(Effect.forkScoped(client), clients)
    return {
      failures,
      stop: Effect.gen(function*() {
        going = false
        yield* Effect.forEach(fibers, (fiber) => fiber.await)
        agent.destroy()
      })
    }
  })

describe("a pool whose workers ask to be recycled", () => {
  it.scopedLive("loses no request, and has one process more than its size at most", () =>
    Effect.gen(function*() {
      const { port, program } = yield* startPool({ behaviour: { recycleAfter: 150 } })
      const [fresh, kept] = [yield* load(port, 3), yield* keptAlive(port, 3)]
      yield* until("eight recycled workers", () => program.count(/^EVENT \d+ Exited .*"expected":true/) >= 8)
      yield* fresh.stop
      yield* kept.stop
      assert.deepStrictEqual(fresh.failures, [])
      assert.deepStrictEqual(kept.failures, [])
      assert.strictEqual(most(program), 3)
      assert.strictEqual(program.count(/^EVENT \d+ (Killed|StartFailed)/), 0)
      assert.isAtLeast(program.count(/^EVENT \d+ RecycleRequested .*"reason":"Asked"/), 8)
    }), 120_000)

  it.scopedLive("replaces one that has grown", () =>
    Effect.gen(function*() {
      const { port, program } = yield* startPool({ pool: { size: 1, recycle: { maxMemory: 300e6, jitter: 0 } } })
      const { pid } = yield* ask(port)
      yield* ask(port, { path: `/?leak=${400e6}` })
      yield* program.waitFor(new RegExp(`^EVENT \\d+ RecycleRequested .*"pid":${pid}.*"reason":"Memory"`))
      yield* program.waitFor(new RegExp(`^EVENT \\d+ Exited .*"pid":${pid},.*"code":0.*"expected":true`))
      assert.notStrictEqual((yield* ask(port)).pid, pid)
    }))
})
