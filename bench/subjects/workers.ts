/** A pool of this package, whose primary is upgraded, and with it every worker. */
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import type { Subject } from "./subject.ts"
import { processes } from "./subject.ts"

const program = fileURLToPath(new URL("../programs/pool.js", import.meta.url))

export const workers: Subject = {
  name: "workers",
  title: "Workers, 2 processes on node:http",
  ours: true,
  protocols: ["http", "https", "http2", "ws"],
  missing: () => undefined,
  run: async (protocol, use) => {
    const server = generations.start({ args: [program], environment: { PROTOCOL: protocol } })
    try {
      let primary = server.pid
      const [port] = await server.line(/^PORT (\d+)/)
      await server.line(new RegExp(`Process ${primary} is ready as generation 1`))
      const pool = await processes(server, {
        port: Number(port),
        count: 2,
        ask: () => process.kill(primary, "SIGHUP")
      })
      const result = await use({
        ...pool,
        everyPid: () => [primary, ...pool.pids()],
        upgrade: async () => {
          const from = server.position()
          await pool.upgrade()
          const [next] = await server.line(new RegExp(`^ALONE (?!${primary}$)(\\d+)$`), { from })
          primary = Number(next)
        }
      })
      await server.stop(primary)
      return result
    } finally {
      await server.end()
    }
  }
}
