/** The load generator `wrk`, started for as long as it takes and ended when the upgrades are over. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Crowd, Latency } from "./crowd.ts"

export const isInstalled = (): boolean => spawnSync("wrk", ["-v"]).error === undefined

/** Eight requests in one write, their answers counted one by one. */
const pipeline = `init = function(args)
  local requests = {}
  for i = 1, 8 do requests[i] = wrk.format() end
  all = table.concat(requests)
end
request = function() return all end
`

interface Options {
  readonly url: string
  readonly connections: number
  readonly pipelined?: boolean
  /** Seconds after which a request counts as failed; 10 by default. */
  readonly patience?: number
  readonly headers?: ReadonlyArray<string>
}

const unit = { us: 0.001, ms: 1, s: 1_000 }

const latencyIn = (text: string): Latency | undefined => {
  const time = (pattern: RegExp) => {
    const [, value, name] = pattern.exec(text) ?? []
    return Number(value) * unit[name as keyof typeof unit]
  }
  const latency = {
    p50: time(/^ +50% +([\d.]+)(us|ms|s)$/m),
    p99: time(/^ +99% +([\d.]+)(us|ms|s)$/m),
    longest: time(/^ +Latency +\S+ +\S+ +([\d.]+)(us|ms|s) /m)
  }
  return Object.values(latency).some(Number.isNaN) ? undefined : latency
}

export const start = ({ connections, headers = [], patience = 10, pipelined = false, url }: Options): Crowd => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "proof-"))
  const script = path.join(folder, "pipeline.lua")
  fs.writeFileSync(script, pipeline)
  const wrk = spawn("wrk", [
    "--threads=1",
    `--connections=${connections}`,
    "--duration=10m",
    "--latency",
    `--timeout=${patience}s`,
    ...pipelined ? [`--script=${script}`] : [],
    ...headers.flatMap((header) => ["--header", header]),
    url
  ], { stdio: ["ignore", "pipe", "inherit"] })
  let text = ""
  wrk.stdout.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
  const ended = once(wrk, "close")
  return {
    stop: async () => {
      wrk.kill("SIGINT")
      await ended
      fs.rmSync(folder, { recursive: true, force: true })
      const [, requests] = /(\d+) requests in/.exec(text) ?? []
      if (requests === undefined) throw new Error(`wrk said: ${text}`)
      const failed: Record<string, number> = {}
      const errors = /Socket errors: (.*)/.exec(text)?.[1]?.split(", ") ?? []
      for (const error of errors) {
        const [kind, count] = error.split(" ")
        if (Number(count) > 0) failed[`${kind} error`] = Number(count)
      }
      const [, other] = /Non-2xx or 3xx responses: (\d+)/.exec(text) ?? []
      if (other !== undefined) failed["status"] = Number(other)
      const latency = latencyIn(text)
      return {
        requests: Number(requests),
        failed,
        again: {},
        ordinary: 0,
        ...latency === undefined ? {} : { latency }
      }
    },
    end: () => void wrk.kill("SIGKILL")
  }
}
