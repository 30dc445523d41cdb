/** A pool that is rolled, resized and upgraded. */
import { once } from "node:events"
import * as http from "node:http"
import { fileURLToPath } from "node:url"
import * as generations from "../generations.ts"

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
