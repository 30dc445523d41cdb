/**
 * Connections of a pool's clients, which never connect again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { ServerReport } from "../../src/Drain.ts"
import { ask } from "../kit/clients.ts"
import type { Crowd, CrowdOptions, Keeper } from "../kit/keepers.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const startPool = (pool: object = {}, behaviour: object = {}) =>
  Effect.gen(function*() {
    const program = yield* start(fixture("workers.mjs"), {
      app: { pool, behaviour: { keeps: { keepAliveTimeout: 60_000 }, ...behaviour } }
    })
    const primary = yield* program.up(1)
    const [, port] = yield* program.waitFor(/^WORKER \d+ \d+ \d+ \d+ (\d+)/)
    return { program, primary, target: { host: "127.0.0.1", port: Number(port) } }
  })

const crowd = (options: CrowdOptions) =>
  Effect.acquireRelease(Effect.promise(() => keepers.crowd(options)), (crowd) => Effect.promise(crowd.end))

/** So many clients, each of which has had an answer. */
const connectAll = (target: CrowdOptions["target"], count: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const clients: Array<Keeper> = []
      for (let made = 0; made < count; made++) {
        const client = await keepers.connect(target)
        await client.ask()
        clients.push(client)
      }
      return clients
    }),
    (clients) => Effect.sync(() => clients.forEach((client) => client.end()))
  )

/** One more answer for each; none where the connection has ended. */
const askEach = (clients: ReadonlyArray<Keeper>) =>
  Effect.promise(() => Promise.all(clients.map((client) => client.ask({ body: "body" }).catch(() => undefined))))

/** The workers of a generation. */
const workersOf = (program: Handle, generation: number): ReadonlyArray<number> =>
  program.lines().flatMap((line) => {
    const match = /^WORKER (\d+) \d+ (\d+)/.exec(line)
    return match !== null && Number(match[2]) === generation ? [Number(match[1])] : []
  })

const drained = (program: Handle, pid: number) =>
  Effect.gen(function*() {
    const [, json] = yield* program.waitFor(new RegExp(`^DRAINED ${pid} (.*)`), "60 seconds")
    const [server] = (JSON.parse(json!) as { readonly servers: ReadonlyArray<ServerReport> }).servers
    const { finished, forced, handedOver, open, sentAway, timedOut } = server!
    assert.strictEqual(open, finished + sentAway + handedOver + timedOut + forced)
    return server!
  })

/** How many connections the workers of a generation had when they ended, and how many of those went to others. */
const totals = (program: Handle, generation: number) =>
  Effect.map(
    Effect.forEach(workersOf(program, generation), (pid) => drained(program, pid)),
    (reports) =>
      [
        reports.reduce((sum, { open }) => sum + open, 0),
        reports.reduce((sum, { handedOver }) => sum + handedOver, 0)
      ] as const
  )

const answeredBy = (clients: Crowd, generation: number, count: number) =>
  eventually("clients to be answered there", () => (clients.generations.get(generation) ?? 0) > count)

const nobodyNoticed = (clients: Crowd) => {
  assert.deepStrictEqual(clients.failures, [])
  assert.deepStrictEqual([clients.closed(), clients.toldToGo()], [0, 0])
}

const roll = (primary: { readonly port: number }) => ask(primary.port, { path: "/replace" })

describe.runIf(isLinux)("connections of clients of a pool that never connect again", () => {
  it.scopedLive("live through five rolls under load, and each request is answered once", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool()
      const busy = yield* crowd({ target, count: 32, pause: 0 })
      const idle = yield* crowd({ target, count: 200, pause: 2_000 })
      for (let generation = 1; generation <= 5; generation++) {
        yield* answeredBy(busy, generation, 200)
        yield* roll(primary)
        assert.deepStrictEqual(yield* totals(program, generation), [232, 232])
      }
      yield* Effect.promise(() => Promise.all([busy.rest(), idle.rest()]))
      nobodyNoticed(busy)
      nobodyNoticed(idle)
    }), 180_000)

  it.scopedLive("go on a channel that the app does not see", () =>
    Effect.gen(function*() {
      const { program } = yield* startPool()
      for (const pid of workersOf(program, 1)) {
        const [, seen] = yield* program.waitFor(new RegExp(`^CHANNEL ${pid} (.*)`))
        assert.strictEqual(seen, "undefined,undefined,undefined,undefined,undefined")
      }
    }))

  it.scopedLive("are drained with handOver: false", () =>
    Effect.gen(function*() {
      const { primary, program, target } = yield* startPool({ handOver: false, size: 1 })
      const clients = yield* connectAll(target, 8)
      const [pid = 0] = workersOf(program, 1)
      yield* Effect.fork(roll(primary))
      yield* program.waitFor(new RegExp(`^DRAINING ${pid}`))
      for (const client of clients) {
        assert.strictEqual((yield* Effect.promise(() => client.ask())).pid, pid)
        assert.isTrue(client.wasToldToGo())
      }
      const { handedOver, open, sentAway } = yield* drained(program, pid)
      assert.deepStrictEqual([open, sentAway, handedOver], [8, 8, 0])
    }), 60_000)

  it.scopedLive(
    "are served on, but for those it has taken, when what replaces their worker is killed as they go",
    () =>
      Effect.gen(function*() {
        const { primary, program, target } = yield* startPool({ size: 1 }, {
          killAmidst: { after: 50, what: "worker" }
        })
        const clients = yield* connectAll(target, 200)
        const [pid = 0] = workersOf(program, 1)
        yield* Effect.fork(roll(primary))
        yield* program.waitFor(/^EVENT \d+ Exited .*SIGKILL/)
        const answers = yield* askEach(clients)
        for (const client of clients) client.end()
        const { handedOver, open } = yield* drained(program, pid)
        assert.strictEqual(open, 200)
        assert.isAbove(handedOver, 30)
        assert.strictEqual(answers.filter((answer) => answer?.pid === pid).length, 200 - handedOver)
        assert.strictEqual(answers.filter((answer) => answer === undefined).length, handedOver)
      }),
    120_000
  )

  it.scopedLive(
    "are answered once, but for the few that are on their way, when the primary is killed as they go",
    () =>
      Effect.gen(function*() {
        const { primary, program, target } = yield* startPool({ size: 1 }, {
          killAmidst: { after: 50, what: "primary" }
        })
        const clients = yield* connectAll(target, 200)
        const [older = 0] = workersOf(program, 1)
        yield* Effect.fork(Effect.exit(roll(primary)))
        yield* program.waitFor(/^WORKER \d+ 0 2 /)
        yield* eventually("the primary to be gone", () => !isAlive(primary.pid))
        const answers = yield* askEach(clients)
        for (const client of clients) client.end()
        const { handedOver } = yield* drained(program, older)
        const answeredBy = (pid: number) => answers.filter((answer) => answer?.pid === pid).length
        const [newer = 0] = workersOf(program, 2)
        assert.strictEqual(answeredBy(older), 200 - handedOver)
        assert.isAtLeast(answeredBy(newer), 49)
        assert.isAtMost(handedOver - answeredBy(newer), 16)
      }),
    120_000
  )
})
