/** A primary that replaces its workers again and again: what grows in it. */
import { isInstalled, start } from "../../test/kit/crowd/wrk.ts"
import { fewestDescriptors } from "../../test/kit/descriptors.ts"
import { megabytes } from "../../test/kit/proc.ts"
import { withPool } from "../../test/kit/servers/pool.ts"
import type { Figure } from "../lib/results.ts"
import { withoutWrk } from "../lib/wrkThroughput.ts"

export const poolMemory = async (quick: boolean): Promise<Figure> => {
  const rolls = quick ? 4 : 50
  const title = `The primary of a pool of two under light load, whose workers are replaced ${rolls} times.`
  if (!isInstalled()) return withoutWrk("pool-memory", title)
  return withPool(async (pool) => {
    const clients = start({ connections: 2, url: `http://127.0.0.1:${pool.port}/` })
    try {
      const looks: Array<{ rolls: number; descriptors: number; megabytes: number }> = []
      for (let count = 1; count <= rolls; count++) {
        await pool.replace()
        if (count > 1 && count % Math.ceil(rolls / 6) !== 0) continue
        const primary = pool.primary()
        looks.push({ rolls: count, descriptors: await fewestDescriptors(primary), megabytes: megabytes(primary) })
      }
      const { failed } = await clients.stop()
      const [first, last] = [looks[0]!, looks.at(-1)!]
      return {
        name: "pool-memory",
        title,
        tables: [{
          titles: ["rolls", "descriptors of the primary", "resident MB"],
          rows: looks.map(({ descriptors, megabytes, rolls }) => [rolls, descriptors, megabytes].map(String))
        }],
        bars: [
          {
            what: `descriptors of a primary after ${rolls} rolls over one`,
            value: last.descriptors - first.descriptors,
            limit: 0,
            is: "at most"
          },
          {
            what: `resident memory of a primary after ${rolls} rolls over one`,
            value: Number((last.megabytes / first.megabytes).toFixed(2)),
            limit: 1.2,
            is: "at most"
          }
        ],
        notes: Object.entries(failed).map(([kind, count]) => `${count} requests failed: ${kind}`),
        data: looks
      }
    } finally {
      clients.end()
    }
  })
}
