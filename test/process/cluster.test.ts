/**
 * Runners of a cluster that are upgraded in place, with clients that send to them all the time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const patience = "60 seconds"

const nothingWrong = { failed: [], undone: [], twice: [], lost: [], together: [], alternating: 0 }

interface Cluster {
  readonly runners: ReadonlyArray<Runner>
  readonly client: Handle
}

interface Runner {
  readonly handle: Handle
  readonly app: unknown
  generation: number
  pid: number
}

const isUp = (handle: Handle, generation: number) =>
  Effect.map(handle.waitFor(new RegExp(`^UP (\\d+) ${generation} `), patience), (match) => Number(match[1]))

const asked = (client: Handle) => client.count(/^ASKED/)

/** Until the client has had that many answers more, twenty at a time. */
const served = (client: Handle, more = 3) =>
  Effect.suspend(() => {
    const before = asked(client)
    return eventually("answers", () => asked(client) >= before + more, { within: patience, seen: client.dump })
  })

const startRunner = (app: unknown) =>
  Effect.gen(function*() {
    const handle = yield* start(fixture("cluster/runner.mjs"), { app })
    const runner: Runner = { handle, app, generation: 1, pid: yield* isUp(handle, 1) }
    return runner
  })

/** Two runners on one database, and a client with answers of both. */
const cluster = (app: Record<string, unknown>) =>
  Effect.gen(function*() {
    const database = path.join(yield* directory, "cluster.db")
    const runners: Array<Runner> = []
    for (let n = 0; n < 2; n++) runners.push(yield* startRunner({ database, port: yield* freePort, ...app }))
    const client = yield* start(fixture("cluster/client.mjs"), { app: { database, ...app } })
    yield* served(client)
    const all: Cluster = { runners, client }
    return all
  })

const upgrade = (runner: Runner) =>
  Effect.gen(function*() {
    const { handle, pid } = runner
    yield* signal(pid, "SIGHUP")
    runner.generation++
    runner.pid = yield* isUp(handle, runner.generation)
    yield* handle.waitFor(new RegExp(`^EXIT ${pid} 0`), patience)
  })

/** How it went, by the client and by what the counters have written down. */
const results = ({ client }: Cluster) =>
  Effect.gen(function*() {
    yield* served(client)
    yield* signal(client.pid, "SIGTERM")
    const [, json = ""] = yield* client.waitFor(/^RESULTS (.*)$/, "90 seconds")
    return JSON.parse(json)
  })

/** Until a runner has the shards of the one before it. */
const tookOver = ({ handle, pid }: Runner) =>
  handle.waitFor(new RegExp(`^LOG ${pid} .*Has taken over \\d+ shard`), patience)

describe.runIf(isLinux)("a runner of a cluster", () => {
  it.scopedLive(
    "is upgraded in place, also after a release that failed, and nothing is lost or done twice",
    () =>
      Effect.gen(function*() {
        const failing = path.join(yield* directory, "failing")
        const all = yield* cluster({ transport: "http", failing })
        const [one, other] = all.runners as [Runner, Runner]
        yield* upgrade(one)
        yield* tookOver(one)
        yield* served(all.client)

        fs.writeFileSync(failing, "")
        yield* signal(other.pid, "SIGHUP")
        // It is a part of the cluster by then, and has none of the shards.
        yield* other.handle.waitFor(/^FAILING/, patience)
        yield* served(all.client)
        yield* other.handle.waitFor(new RegExp(`^EVENT ${other.pid} UpgradeFailed`), patience)
        fs.rmSync(failing)
        yield* served(all.client)

        for (const runner of [other, one]) {
          yield* upgrade(runner)
          yield* tookOver(runner)
          yield* served(all.client)
        }
        const { asked, done, wrong } = yield* results(all)
        assert.deepStrictEqual(wrong, nothingWrong)
        assert.isAbove(asked, 100)
        assert.isAbove(done, 50)
      }),
    300_000
  )

  it.scopedLive("that speaks by sockets is so too", () =>
    Effect.gen(function*() {
      const all = yield* cluster({ transport: "socket" })
      for (const runner of all.runners) {
        yield* upgrade(runner)
        yield* tookOver(runner)
        yield* served(all.client)
      }
      assert.deepStrictEqual((yield* results(all)).wrong, nothingWrong)
    }), 300_000)

  it.scopedLive("loses nothing when either process is killed in an upgrade", () =>
    Effect.gen(function*() {
      const all = yield* cluster({ transport: "http" })
      const [one, other] = all.runners as [Runner, Runner]
      const killed: Array<number> = []
      const kill = (pid: number) =>
        Effect.suspend(() => {
          killed.push(pid)
          return signal(pid, "SIGKILL")
        })

      yield* signal(one.pid, "SIGHUP")
      const newer = yield* isUp(one.handle, 2)
      yield* kill(one.pid)
      yield* one.handle.waitFor(new RegExp(`^ALONE ${newer}`), patience)
      yield* served(all.client, 5)

      // What is left of the runner ends, and whoever looks after it starts it again.
      yield* signal(other.pid, "SIGHUP")
      yield* kill(yield* isUp(other.handle, 2))
      yield* other.handle.waitFor(new RegExp(`^EXIT ${other.pid}`), patience)
      yield* startRunner(other.app)
      yield* served(all.client, 5)

      const { wrong: { alternating: _, together, twice: __, ...wrong } } = yield* results(all)
      // What was being done when its process was killed is done again; what that process has served had no end.
      assert.deepStrictEqual(wrong, { failed: [], undone: [], lost: [] })
      assert.deepStrictEqual(together.filter(({ pid }: { pid: number }) => !killed.includes(pid)), [])
    }), 300_000)
})
