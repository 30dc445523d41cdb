/** Runners of a cluster that are upgraded in place, with a client that sends to them all the time: fixtures/cluster. */
import * as Effect from "effect/Effect"
import * as path from "node:path"
import { directory } from "./files.ts"
import { fixture } from "./paths.ts"
import { freePort } from "./ports.ts"
import type { Handle } from "./processes.ts"
import { signal, start } from "./processes.ts"
import { eventually } from "./waiting.ts"

export const patience = "60 seconds"

export interface Cluster {
  readonly runners: ReadonlyArray<Runner>
  readonly client: Handle
}

export interface Runner {
  readonly handle: Handle
  readonly app: unknown
  generation: number
  pid: number
}

export const isUp = (handle: Handle, generation: number) =>
  Effect.map(handle.waitFor(new RegExp(`^UP (\\d+) ${generation} `), patience), (match) => Number(match[1]))

const asked = (client: Handle) => client.count(/^ASKED/)

/** Until the client has had that many answers more, twenty at a time. */
export const served = (client: Handle, more = 3) =>
  Effect.suspend(() => {
    const before = asked(client)
    return eventually("answers", () => asked(client) >= before + more, { within: patience, seen: client.dump })
  })

export const startRunner = (app: unknown) =>
  Effect.gen(function*() {
    const handle = yield* start(fixture("cluster/runner.mjs"), { app })
    const runner: Runner = { handle, app, generation: 1, pid: yield* isUp(handle, 1) }
    return runner
  })

/** Two runners on one database, and a client with answers of both. */
export const cluster = (app: Record<string, unknown>, client = "client") =>
  Effect.gen(function*() {
    const database = path.join(yield* directory, "cluster.db")
    const runners: Array<Runner> = []
    for (let n = 0; n < 2; n++) runners.push(yield* startRunner({ database, port: yield* freePort, ...app }))
    const handle = yield* start(fixture(`cluster/${client}.mjs`), { app: { database, ...app } })
    yield* served(handle)
    const all: Cluster = { runners, client: handle }
    return all
  })

export const upgrade = (runner: Runner) =>
  Effect.gen(function*() {
    const { handle, pid } = runner
    yield* signal(pid, "SIGHUP")
    runner.generation++
    runner.pid = yield* isUp(handle, runner.generation)
    yield* handle.waitFor(new RegExp(`^EXIT ${pid} 0`), patience)
  })

/** How it went, by the client and by what the counters have written down. */
export const results = ({ client }: Cluster) =>
  Effect.gen(function*() {
    yield* served(client)
    yield* signal(client.pid, "SIGTERM")
    const [, json = ""] = yield* client.waitFor(/^RESULTS (.*)$/, "90 seconds")
    return JSON.parse(json)
  })

/** Until a runner has the shards of the one before it. */
export const tookOver = ({ handle, pid }: Runner) =>
  handle.waitFor(new RegExp(`^LOG ${pid} .*Has taken over \\d+ shard`), patience)
