/** A pool under load that is rolled, resized, upgraded and shot at. */
import { once } from "node:events"
import * as fs from "node:fs"
import * as http from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { total } from "./crowd.ts"
import type { Scenario } from "./scenarios.ts"
import * as wrk from "./wrk.ts"

const program = fileURLToPath(new URL("./poolServer.js", import.meta.url))

export interface Pool {
  readonly port: number
  readonly replace: () => Promise<unknown>
  readonly resize: (size: number) => Promise<unknown>
  readonly upgrade: () => Promise<void>
  readonly workers: () => Promise<ReadonlyArray<number>>
  /** How many connections a worker has. */
  readonly held: (worker: number) => Promise<number>
  readonly primary: () => number
}

const ask = async (port: number, path: string): Promise<string> => {
  const [response]: [http.IncomingMessage] = await once(
    http.get({ port, host: "127.0.0.1", path, agent: false }),
    "response"
  ) as never
  const body = (await response.setEncoding("utf8").toArray()).join("")
  if (response.statusCode !== 200) throw new Error(body)
  return body
}

/** Runs it until `use` is over. */
export const withPool = async <A>(use: (pool: Pool) => Promise<A>): Promise<A> => {
  const server = generations.start({ args: [program] })
  let primary = server.pid
  try {
    const [port] = await server.line(/^PORT (\d+)/)
    const [admin] = await server.line(/^ADMIN (\d+)/)
    await server.line(new RegExp(`Process ${primary} is ready as generation 1`))
    const command = (path: string) => ask(Number(admin), path)
    const pool: Pool = {
      port: Number(port),
      replace: () => command("/replace"),
      resize: (size) => command(`/resize/${size}`),
      upgrade: async () => {
        const from = server.position()
        process.kill(primary, "SIGHUP")
        const [next] = await server.line(/^ALONE (\d+)/, { from })
        primary = Number(next)
      },
      workers: async () => {
        const rows: ReadonlyArray<{ pid?: number; state: string }> = JSON.parse(await command("/status"))
        return rows.flatMap(({ pid, state }) => state === "serving" && pid !== undefined ? [pid] : [])
      },
      held: async (worker) => {
        const from = server.position()
        process.kill(worker, "SIGUSR2")
        return Number((await server.line(new RegExp(`^HELD ${worker} (\\d+)`), { from }))[0])
      },
      primary: () => primary
    }
    const result = await use(pool)
    await server.stop(primary)
    return result
  } finally {
    await server.end()
  }
}

const keepAlive = { connections: 32 }
const newConnections = { connections: 32, headers: ["Connection: close"] }

/** Everything that is done to a pool on purpose, so that nothing may be lost. */
const onPurpose = (name: string, title: string, load: Omit<Parameters<typeof wrk.start>[0], "url">): Scenario => ({
  name,
  title,
  needs: "wrk",
  run: (quick) =>
    withPool(async (pool) => {
      const clients = wrk.start({ ...load, url: `http://127.0.0.1:${pool.port}/` })
      try {
        await sleep(500)
        const [rolls, upgrades] = quick ? [2, 1] : [20, 10]
        for (let count = 0; count < rolls; count++) await pool.replace()
        for (const size of [1, 4, 2]) await pool.resize(size)
        for (let count = 0; count < upgrades; count++) await pool.upgrade()
        await sleep(500)
        return {
          upgrades,
          tally: await clients.stop(),
          drained: [],
          note: `${rolls} rolls, resized to 1, 4 and 2, ${upgrades} upgrades of the primary`
        }
      } finally {
        clients.end()
      }
    })
})

/** A worker that is killed takes with it what it was doing, and nothing else. */
const shotAt: Scenario = {
  name: "pool-killed",
  title: "wrk, pool of 2, a worker SIGKILLed every second",
  needs: "wrk",
  onlyCounted: true,
  run: (quick) =>
    withPool(async (pool) => {
      const clients = wrk.start({ ...keepAlive, url: `http://127.0.0.1:${pool.port}/` })
      try {
        const kills = quick ? 3 : 15
        let held = 0
        for (let count = 0; count < kills; count++) {
          await sleep(1_000)
          const [worker] = await pool.workers()
          if (worker === undefined) continue
          held += await pool.held(worker)
          process.kill(worker, "SIGKILL")
        }
        await sleep(1_000)
        const tally = await clients.stop()
        const failed = total(tally.failed)
        if (failed > held) throw new Error(`${failed} requests failed, but the killed workers had ${held} connections`)
        return { upgrades: 0, tally, drained: [], note: `${kills} kills; the killed workers had ${held} connections` }
      } finally {
        clients.end()
      }
    })
}

const descriptorsOf = (pid: number) => fs.readdirSync(`/proc/${pid}/fd`).length

const residentOf = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]) / 1_024

/** A primary must not grow by its rolls. */
const rolledOften: Scenario = {
  name: "pool-endurance",
  title: "pool of 2 under light load, rolled 100 times",
  needs: "wrk",
  run: (quick) =>
    withPool(async (pool) => {
      const clients = wrk.start({ connections: 2, url: `http://127.0.0.1:${pool.port}/` })
      try {
        const rolls = quick ? 5 : 100
        const samples: Array<string> = []
        let before = 0
        let after = 0
        for (let count = 0; count <= rolls; count++) {
          if (count > 0) await pool.replace()
          after = descriptorsOf(pool.primary())
          if (count === 1) before = after
          if (count % Math.max(1, rolls / 5) === 0) {
            samples.push(`${count}: ${after} descriptors, ${residentOf(pool.primary()).toFixed(0)} MB`)
          }
        }
        // A connection of a client may be on its way out.
        if (after > before + 2) throw new Error(`The primary had ${before} descriptors and has ${after} now`)
        return { upgrades: 0, tally: await clients.stop(), drained: [], note: samples.join("; ") }
      } finally {
        clients.end()
      }
    })
}

export const pools: ReadonlyArray<Scenario> = [
  onPurpose("pool", "wrk, 32 keep-alive connections, pool of 2", keepAlive),
  onPurpose("pool-new-connections", "wrk, a new connection for each request, pool of 2", newConnections),
  shotAt,
  rolledOften
]
