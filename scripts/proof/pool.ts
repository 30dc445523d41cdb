/** A pool under load that is rolled, resized, upgraded and shot at. */
import { setTimeout as sleep } from "node:timers/promises"
import { total } from "../../test/kit/crowd/crowd.ts"
import * as wrk from "../../test/kit/crowd/wrk.ts"
import { openDescriptors } from "../../test/kit/descriptors.ts"
import { megabytes } from "../../test/kit/proc.ts"
import { withPool } from "../../test/kit/servers/pool.ts"
import type { Scenario } from "./scenarios.ts"

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
          after = openDescriptors(pool.primary()).length
          if (count === 1) before = after
          if (count % Math.max(1, rolls / 5) === 0) {
            samples.push(`${count}: ${after} descriptors, ${megabytes(pool.primary()).toFixed(0)} MB`)
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
