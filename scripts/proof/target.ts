/** A server that is upgraded, and how it went. */
import { fileURLToPath } from "node:url"
import * as generations from "../lib/generations.ts"
import type { Drained, Settings } from "./settings.ts"

const program = fileURLToPath(new URL("./server.js", import.meta.url))

export interface Target {
  readonly port: number
  /** Upgrades once and returns when the old process has gone. */
  readonly upgrade: () => Promise<void>
  /** Asks for an upgrade that cannot succeed, and returns when it has failed. */
  readonly failToUpgrade: () => Promise<void>
  /** What the processes before the current one did when they were drained. */
  readonly drained: ReadonlyArray<Drained>
}

export const withTarget = async <A>(settings: Settings, use: (target: Target) => Promise<A>): Promise<A> => {
  const server = generations.start({ args: [program], environment: { PROOF: JSON.stringify(settings) } })
  const drained: Array<Drained> = []
  let pid = server.pid
  const target = async (): Promise<Target> => {
    const [port] = await server.line(/^PORT (\d+)/)
    await server.line(/is ready as generation 1/)
    return {
      port: Number(port),
      drained,
      upgrade: async () => {
        const from = server.position()
        process.kill(pid, "SIGHUP")
        const [next] = await server.line(/^ALONE (\d+)/, { from })
        const [report] = await server.line(new RegExp(`^DRAINED ${pid} (.*)`), { from })
        drained.push(JSON.parse(report!))
        const [code] = await server.line(new RegExp(`^EXIT ${pid} (\\d+)`), { from })
        if (code !== "0") throw new Error(`Process ${pid} has ended with code ${code}. It said:\n${server.tail()}`)
        pid = Number(next)
      },
      failToUpgrade: async () => {
        const from = server.position()
        process.kill(pid, "SIGHUP")
        await server.line(/No upgrade on SIGHUP/, { from })
      }
    }
  }
  try {
    const result = await use(await target())
    await server.stop(pid)
    return result
  } finally {
    await server.end()
  }
}
