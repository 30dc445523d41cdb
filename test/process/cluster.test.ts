/**
 * Runners of a cluster that are upgraded in place, with clients that send to them all the time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
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

describe.runIf(isLinux)("a runner of a cluster", () => {
  for (const transport of ["http", "socket"]) {
    it.scopedLive(
      `that speaks ${transport} is upgraded in place, and nothing is lost or done twice`,
      () =>
        Effect.gen(function*() {
          const all = yield* cluster({ transport })
          for (const runner of [...all.runners, ...all.runners]) {
            yield* upgrade(runner)
            yield* runner.handle.waitFor(new RegExp(`^LOG ${runner.pid} .*Has taken over \\d+ shard`), patience)
            yield* served(all.client)
          }
          const { asked, done, wrong } = yield* results(all)
          assert.deepStrictEqual(wrong, nothingWrong)
          assert.isAbove(asked, 100)
          assert.isAbove(done, 50)
        }),
      300_000
    )
  }
})
