/** A server that is upgraded, and how it went. */
import { fileURLToPath } from "node:url"
import type { Generations } from "../generations.ts"
import * as generations from "../generations.ts"
import type { Drained, Settings } from "./settings.ts"

const program = fileURLToPath(new URL("./server.js", import.meta.url))

export interface Target {
  readonly port: number
  /** Upgrades once and returns when the old process has gone. */
  readonly upgrade: () => Promise<void>
  /** Upgrades once and returns when the new process has taken over, while the old one still drains. */
  readonly upgradeAhead: () => Promise<void>
  /** Returns when every older process has gone. */
  readonly settled: () => Promise<void>
  /** Asks for an upgrade that cannot succeed, and returns when it has failed. */
  readonly failToUpgrade: () => Promise<void>
  readonly program: Generations
  /** What the processes before the current one did when they were drained. */
  readonly drained: ReadonlyArray<Drained>
}

export const withTarget = async <A>(
  settings: Settings,
  use: (target: Target) => Promise<A>,
  other: { readonly executable?: string; readonly program?: string } = {}
): Promise<A> => {
  const server = generations.start({
    executable: other.executable ?? process.execPath,
    args: [other.program ?? program],
    environment: { PROOF: JSON.stringify(settings) }
  })
  const drained: Array<Drained> = []
  let pid = server.pid
  const ended = async (pid: number, from: number) => {
    const [report] = await server.line(new RegExp(`^DRAINED ${pid} (.*)`), { from })
    drained.push(JSON.parse(report!))
    const [code] = await server.line(new RegExp(`^EXIT ${pid} (\\d+)`), { from })
    if (code !== "0") throw new Error(`Process ${pid} has ended with code ${code}. It said:\n${server.tail()}`)
  }
  const draining: Array<Promise<void>> = []
  const target = async (): Promise<Target> => {
    const [port] = await server.line(/^PORT (\d+)/)
    await server.line(/is ready as generation 1/)
    return {
      port: Number(port),
      program: server,
      drained,
      upgrade: async () => {
        const from = server.position()
        process.kill(pid, "SIGHUP")
        const [next] = await server.line(/^ALONE (\d+)/, { from })
        await ended(pid, from)
        pid = Number(next)
      },
      upgradeAhead: async () => {
        const from = server.position()
        process.kill(pid, "SIGHUP")
        const [next] = await server.line(/Process (\d+) has taken over/, { from })
        const end = ended(pid, from)
        end.catch(() => {})
        draining.push(end)
        pid = Number(next)
      },
      settled: async () => void await Promise.all(draining),
      failToUpgrade: async () => {
        const from = server.position()
        process.kill(pid, "SIGHUP")
        await server.line(/No upgrade: /, { from })
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
