/**
 * Connections of the clients of a pool that is the command of a supervisor: they go through both primaries and through the
 * supervisor, and their clients never connect again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import type { ServerReport } from "../../src/Drain.ts"
import { load } from "../kit/clients.ts"
import { post } from "../kit/control.ts"
import { directory } from "../kit/files.ts"
import type { CrowdOptions, Keeper } from "../kit/keepers.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal } from "../kit/processes.ts"
import { run } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

interface Started {
  readonly app: Handle
  readonly size: number
}

/** The workers that have been started by the primary of a generation. */
const workersOf = ({ app, size }: Started, generation: number): ReadonlyArray<number> =>
  app.lines().flatMap((line) => /^WORKER (\d+) /.exec(line)?.slice(1).map(Number) ?? [])
    .slice((generation - 1) * size, generation * size)

const startPool = (
  { behaviour = {}, control, options = [], program = fixture("workers.mjs"), size = 2 }: {
    readonly control?: string
    readonly size?: number
    readonly options?: ReadonlyArray<string>
    readonly behaviour?: object
    readonly program?: string
  } = {}
) =>
  Effect.gen(function*() {
    const target = { host: "127.0.0.1", port: yield* freePort }
    const server = { keepAliveTimeout: 60_000 }
    const app = yield* run({
      // What outlives tableflip is heard too.
      options: ["--listen", `${target.host}:${target.port}`, "--ready-wire", "--output", "inherit", ...options],
      command: [process.execPath, program],
      app: {
        pool: { size },
        behaviour: { port: target.port, keeps: server, ...behaviour },
        listen: { ...target, name: "api" },
        server,
        control
      }
    })
    const first = yield* app.up(1)
    return { app, first, size, target }
  })

type Primary = Effect.Effect.Success<ReturnType<Handle["up"]>>

const crowd = (options: CrowdOptions) =>
  Effect.acquireRelease(Effect.promise(() => keepers.crowd(options)), (crowd) => Effect.promise(crowd.end))

/** So many clients, each of which has had an answer. */
const connectAll = (target: CrowdOptions["target"], count: number) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      Promise.all(Array.from({ length: count }, async () => {
        const client = await keepers.connect(target)
        await client.ask()
        return client
      }))
    ),
    (clients) => Effect.sync(() => clients.forEach((client) => client.end()))
  )

/** The process that has answered each; none where the connection has ended. */
const askEach = (clients: ReadonlyArray<Keeper>) =>
  Effect.promise(() =>
    Promise.all(clients.map((client) => client.ask({ body: "body" }).then(({ pid }) => pid, () => undefined)))
  )

const counted = (pids: ReadonlyArray<number | undefined>, pid: number | undefined) =>
  pids.filter((one) => one === pid).length

const drained = ({ app }: Started, pid: number) =>
  Effect.gen(function*() {
    const [, json] = yield* app.waitFor(new RegExp(`^DRAINED ${pid} (.*)`), "60 seconds")
    const [server] = (JSON.parse(json!) as { readonly servers: ReadonlyArray<ServerReport> }).servers
    const { finished, forced, handedOver, open, sentAway, timedOut } = server!
    assert.strictEqual(open, finished + sentAway + handedOver + timedOut + forced)
    return server!
  })

/** How many connections the workers of a generation had when they ended, and how many of those went to others. */
const totals = (started: Started, generation: number) =>
  Effect.map(
    Effect.forEach(workersOf(started, generation), (pid) => drained(started, pid)),
    (reports) =>
      [
        reports.reduce((sum, { open }) => sum + open, 0),
        reports.reduce((sum, { handedOver }) => sum + handedOver, 0)
      ] as const
  )

/** One reload, until the older primary is gone. */
const reload = (app: Handle, older: Primary) =>
  Effect.gen(function*() {
    yield* signal(app.pid, "SIGHUP")
    const next = yield* app.up(older.generation + 1)
    yield* eventually("the older primary to be gone", () => !isAlive(older.pid), { within: "60 seconds" })
    return next
  })

const nobodyWasToldToGo = (clients: ReadonlyArray<Keeper>) =>
  assert.strictEqual(clients.filter((client) => client.wasToldToGo()).length, 0)

describe.runIf(isLinux)("connections of clients of a pool under tableflip run that never connect again", () => {
  it.scopedLive("live through three reloads, busy or idle", () =>
    Effect.gen(function*() {
      const started = yield* startPool()
      const { app, first, target } = started
      const busy = yield* crowd({ target, count: 32, pause: 0 })
      const idle = yield* crowd({ target, count: 200, pause: 2_000 })
      let last = first
      let answered = 0
      for (let generation = 1; generation <= 3; generation++) {
        yield* eventually("clients to be answered here", () => busy.answered() > answered + 200)
        last = yield* reload(app, last)
        answered = busy.answered()
        const [open, handedOver] = yield* totals(started, generation)
        // One that these had not accepted yet was accepted by the next.
        assert.isAbove(open, 32)
        assert.strictEqual(handedOver, open)
      }
      yield* Effect.promise(() => Promise.all([busy.rest(), idle.rest()]))
      for (const clients of [busy, idle]) {
        assert.deepStrictEqual(clients.failures, [])
        assert.deepStrictEqual([clients.closed(), clients.toldToGo()], [0, 0])
      }
    }), 180_000)

  it.scopedLive(
    "are spread evenly over the new workers, and over those of a third generation",
    () =>
      Effect.gen(function*() {
        const started = yield* startPool()
        const clients = yield* connectAll(started.target, 100)
        let last = started.first
        for (const generation of [2, 3]) {
          last = yield* reload(started.app, last)
          const pids = yield* askEach(clients)
          assert.deepStrictEqual(workersOf(started, generation).map((pid) => counted(pids, pid)), [50, 50])
        }
        nobodyWasToldToGo(clients)
      }),
    60_000
  )

  it.scopedLive("live when the pool itself is asked for an upgrade, which is a reload", () =>
    Effect.gen(function*() {
      const control = path.join(yield* directory, "control.sock")
      const started = yield* startPool({ control, options: ["--listen", `unix:${control}`] })
      const clients = yield* connectAll(started.target, 40)
      assert.strictEqual((yield* post(control, "/v1/reload?wait=drained")).json.generation, 2)
      yield* eventually("the older primary to be gone", () => !isAlive(started.first.pid), { within: "60 seconds" })
      const pids = yield* askEach(clients)
      assert.deepStrictEqual(workersOf(started, 2).map((pid) => counted(pids, pid)), [20, 20])
      nobodyWasToldToGo(clients)
    }), 60_000)

  it.scopedLive("go to a release that is no pool, and from that to one that is", () =>
    Effect.gen(function*() {
      const program = path.join(yield* directory, "app.mjs")
      const deploy = (name: string) => fs.writeFileSync(program, `import ${JSON.stringify(fixture(name))}`)
      deploy("workers.mjs")
      const started = yield* startPool({ program })
      const clients = yield* connectAll(started.target, 20)
      deploy("keeping.mjs")
      const alone = yield* reload(started.app, started.first)
      assert.strictEqual(counted(yield* askEach(clients), alone.pid), 20)
      deploy("workers.mjs")
      yield* reload(started.app, alone)
      const pids = yield* askEach(clients)
      assert.deepStrictEqual(workersOf(started, 2).map((pid) => counted(pids, pid)), [10, 10])
      nobodyWasToldToGo(clients)
    }), 60_000)

  type Whom = (started: Effect.Effect.Success<ReturnType<typeof startPool>>) => string | number

  /** 200 connections of one worker go to that of the next pool, which kills somebody when it has 50. */
  const killAmidst = (whom: Whom) =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "victim")
      const started = yield* startPool({ size: 1, behaviour: { killAmidst: { after: 50, file } } })
      const { app, target } = started
      const clients = yield* connectAll(target, 200)
      const [older = 0] = workersOf(started, 1)
      const named = whom(started)
      fs.writeFileSync(file, String(named))
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(new RegExp(`^DRAINING ${older}`), "60 seconds")
      const [newer = 0] = workersOf(started, 2)
      const victim = typeof named === "number" ? named : named === "worker" ? newer : (yield* app.up(2)).pid
      yield* eventually("it to be gone", () => !isAlive(victim))
      const pids = yield* askEach(clients)
      for (const client of clients) client.end()
      return {
        started,
        older,
        kept: counted(pids, older),
        taken: counted(pids, newer),
        unanswered: counted(pids, undefined)
      }
    })

  /** No more than those that are on their way are in doubt, and nobody has read both ends of one. */
  const areLostOnTheWayAlone = (whom: Whom) =>
    Effect.gen(function*() {
      const { kept, older, started, taken, unanswered } = yield* killAmidst(whom)
      const { handedOver } = yield* drained(started, older)
      assert.isAtLeast(taken, 49)
      assert.strictEqual(kept, 200 - handedOver)
      assert.strictEqual(unanswered, handedOver - taken)
      assert.isAtMost(unanswered, 16)
    })

  it.scopedLive(
    "are answered once, but for those it has taken, when the new worker is killed as they go",
    () =>
      Effect.gen(function*() {
        const { kept, older, started, unanswered } = yield* killAmidst(() => "worker")
        const { handedOver } = yield* drained(started, older)
        assert.isAbove(handedOver, 30)
        assert.deepStrictEqual([kept, unanswered], [200 - handedOver, handedOver])
      }),
    120_000
  )

  it.scopedLive(
    "are served on, but for those that go, when the new primary is killed as they go, with which tableflip kills its workers",
    () =>
      Effect.gen(function*() {
        const { kept, older, started, taken, unanswered } = yield* killAmidst(() => "primary")
        const { handedOver } = yield* drained(started, older)
        assert.isAbove(handedOver, 30)
        assert.deepStrictEqual([kept, taken + unanswered], [200 - handedOver, handedOver])
      }),
    120_000
  )

  it.scopedLive(
    "are answered once, but for the few that are on their way, when tableflip is killed as they go",
    () => areLostOnTheWayAlone(({ app }) => app.pid),
    120_000
  )

  it.scopedLive(
    "stay with the new worker when the old primary is killed as they go, with which tableflip kills its workers",
    () =>
      Effect.gen(function*() {
        const { kept, taken, unanswered } = yield* killAmidst(({ first }) => first.pid)
        assert.isAtLeast(taken, 49)
        assert.strictEqual(kept + taken + unanswered, 200)
      }),
    120_000
  )
})

describe.runIf(isLinux)("connections of clients of a pool that tableflip leaves running", () => {
  it.scopedLive("are all served by one of the two when that is as they go", () =>
    Effect.gen(function*() {
      for (let count = 0; count < 5; count++) {
        yield* Effect.scoped(Effect.gen(function*() {
          const file = path.join(yield* directory, "victim")
          const after = 1 + Math.floor(Math.random() * 60)
          const started = yield* startPool({
            options: ["--leave-running"],
            behaviour: { killAmidst: { after, by: "SIGTERM", file } }
          })
          const { app, target } = started
          const clients = yield* connectAll(target, 150)
          fs.writeFileSync(file, String(app.pid))
          yield* signal(app.pid, "SIGHUP")
          assert.strictEqual((yield* app.exit).code, 0)
          const pids = yield* askEach(clients)
          const answered = (generation: number) =>
            workersOf(started, generation).reduce((sum, pid) => sum + counted(pids, pid), 0)
          assert.isAtLeast(answered(2), after)
          assert.strictEqual(answered(1) + answered(2), 150, `when ${after} had come to one worker`)
        }))
      }
    }), 120_000)
})

describe.runIf(isLinux)("a command that tableflip has left running, told to stop,", () => {
  const stopAlone = (program: string) =>
    Effect.gen(function*() {
      const { app, first, target } = yield* startPool({ program, options: ["--leave-running"] })
      yield* signal(app.pid, "SIGTERM")
      assert.strictEqual((yield* app.exit).code, 0)
      const clients = yield* load(target.port, 30)
      yield* eventually("answers", () => [...clients.answers.values()].reduce((sum, count) => sum + count, 0) > 200)
      yield* signal(first.pid, "SIGTERM")
      yield* eventually("its end", () => !isAlive(first.pid), { within: "60 seconds" })
      yield* clients.stop
      return clients.failures.filter((failure) => !failure.includes("ECONNREFUSED"))
    })

  for (const [what, name] of [["a pool", "workers.mjs"], ["one process", "keeping.mjs"]] as const) {
    it.scopedLive(`resets none of those who have been connected, as ${what}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* stopAlone(fixture(name)), [])
      }))
  }
})

describe.runIf(isLinux)("the sockets of a pool under tableflip run", () => {
  it.scopedLive("let as many wait after a reload as before", () =>
    Effect.gen(function*() {
      const started = yield* startPool()
      yield* reload(started.app, started.first)
      const workers = workersOf(started, 2)
      for (const pid of workers) yield* signal(pid, "SIGSTOP")
      const clients = yield* Effect.forkScoped(
        Effect.promise(() => Promise.all(Array.from({ length: 20 }, () => keepers.connect(started.target))))
      )
      const waiting = yield* Effect.ensuring(
        Fiber.join(clients),
        Effect.forEach(workers, (pid) => signal(pid, "SIGCONT"))
      )
      for (const client of waiting) client.end()
    }), 60_000)
})
