/**
 * The cluster of examples/cluster.ts: two runners, an HTTP server in front of them, and clients that have it count all the
 * time. What the counters say tells whether there were two of one at a time.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as http from "node:http"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as generations from "./generations.ts"
import { root } from "./paths.ts"
import { freePort } from "./ports.ts"

const program = path.join(root, "build/examples/cluster.js")

const clients = 4
/** Milliseconds between an answer and the next request: the machine is to have room for one more process. */
const pause = 50
const counters = 24

/** Milliseconds after which a request without an answer counts as failed. */
const patience = 60_000

export interface Answer {
  readonly name: string
  readonly count: number
  readonly pid: number
  /** When the request was sent, by the clock of `performance`, and for how many milliseconds it lasted. */
  readonly at: number
  readonly took: number
}

/** What became of the requests: all of these are empty when each was executed once, and each counter in one process at a time. */
export interface Wrong {
  readonly failed: ReadonlyArray<string>
  /** Counts of which nobody was told: something was executed more often than it was asked for. */
  readonly twice: ReadonlyArray<string>
  /** Counts of which two were told: one has overwritten what the other one did. */
  readonly lost: ReadonlyArray<string>
  /** Counters that counted in a process again after they had done so in another one. */
  readonly alternating: ReadonlyArray<string>
  /** Counters that came to a process before they had left another one. */
  readonly together: ReadonlyArray<string>
}

/** What a runner prints, all generations of it to the same pipe, has the order in which it happened. */
const togetherIn = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const homes = new Map<string, string>()
  return lines.flatMap((line) => {
    const [, name, what, pid] = /(\S+) has (come to|left) process (\d+)/.exec(line) ?? []
    if (name === undefined || pid === undefined) return []
    if (what === "left") {
      if (homes.get(name) === pid) homes.delete(name)
      return []
    }
    const home = homes.get(name)
    homes.set(name, pid)
    return home === undefined ? [] : [`${name} in ${home} and ${pid}`]
  })
}

export interface Evidence {
  readonly answers: ReadonlyArray<Answer>
  readonly failed: ReadonlyArray<string>
  /** What each runner has printed. */
  readonly printed: ReadonlyArray<ReadonlyArray<string>>
}

export const wrongIn = ({ answers, failed, printed }: Evidence): Wrong => {
  const twice: Array<string> = []
  const lost: Array<string> = []
  const alternating: Array<string> = []
  for (const name of new Set(answers.map(({ name }) => name))) {
    const own = answers.filter((answer) => answer.name === name)
    const counts = new Set(own.map(({ count }) => count))
    for (let count = 1; count <= Math.max(...counts); count++) if (!counts.has(count)) twice.push(`${name} ${count}`)
    if (counts.size < own.length) lost.push(`${name}: ${own.length - counts.size} of ${own.length}`)
    // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
    const pids = [...own].sort((a, b) => a.count - b.count).map(({ pid }) => pid)
    const stays = pids.filter((pid, index) => pid !== pids[index - 1])
    if (stays.length > new Set(stays).size) alternating.push(`${name}: ${stays.join(" ")}`)
  }
  return { failed, twice, lost, alternating, together: printed.flatMap(togetherIn) }
}

export interface Cluster {
  readonly answers: ReadonlyArray<Answer>
  readonly failed: ReadonlyArray<string>
  /** Upgrades a runner, and returns when the older process has gone. */
  readonly upgrade: (runner: number) => Promise<void>
  /** Upgrades the HTTP server in front. */
  readonly upgradeFront: () => Promise<void>
  /** Stops a runner and starts it again, and returns when it is ready. */
  readonly restart: (runner: number) => Promise<void>
  /** Returns when so many more requests have been answered. */
  readonly answered: (more: number) => Promise<void>
  /** Returns when every request has been answered that is waiting now. */
  readonly settled: () => Promise<unknown>
}

const start = (environment: Readonly<Record<string, string>>) => {
  const begin = () => generations.start({ args: [program], environment })
  const isReady = (program: generations.Generations) => program.line(/Process \d+ is ready as generation 1/)
  const before: Array<string> = []
  let current = begin()
  let pid = current.pid
  return {
    isReady: () => isReady(current),
    line: (pattern: RegExp) => current.line(pattern),
    upgrade: async (hasTakenOver?: RegExp) => {
      const from = current.position()
      process.kill(pid, "SIGHUP")
      const [next] = await current.line(/Process (\d+) has taken over/, { from })
      pid = Number(next)
      if (hasTakenOver !== undefined) await current.line(hasTakenOver, { from })
      await current.line(/Every older process has ended/, { from })
    },
    restart: async () => {
      await current.stop(pid)
      before.push(...current.lines())
      current = begin()
      pid = current.pid
      await isReady(current)
    },
    lines: () => [...before, ...current.lines()],
    stop: () => current.stop(pid),
    end: () => current.end()
  }
}

const ask = (agent: http.Agent, port: number, name: string) =>
  new Promise<Answer>((resolve, reject) => {
    const at = performance.now()
    const request = http.request(
      { host: "127.0.0.1", port, agent, method: "POST", path: `/counters/${name}`, timeout: patience },
      (response) => {
        let body = ""
        response.setEncoding("utf8").on("error", reject).on("data", (text: string) => {
          body += text
        }).on("end", () => {
          if (response.statusCode !== 200) return reject(new Error(`status ${response.statusCode}: ${body}`))
          resolve({ name, ...JSON.parse(body), at, took: performance.now() - at })
        })
      }
    )
    request.on("timeout", () => request.destroy(new Error(`no answer within ${patience} ms`))).on("error", reject).end()
  })

/** Runs it, with clients, until `use` is over; then says what went wrong. */
export const withCluster = async <A>(use: (cluster: Cluster) => Promise<A>): Promise<readonly [A, Wrong]> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "cluster-"))
  const DATABASE = path.join(folder, "cluster.db")
  const agent = new http.Agent({ keepAlive: true })
  const answers: Array<Answer> = []
  const failed: Array<string> = []
  const waiting = new Set<Promise<unknown>>()
  const over = new AbortController()
  const programs: Array<ReturnType<typeof start>> = []
  try {
    const runners: Array<ReturnType<typeof start>> = []
    for (let index = 0; index < 2; index++) {
      const runner = start({ DATABASE, RUNNER: String(await Effect.runPromise(freePort)) })
      programs.push(runner)
      runners.push(runner)
    }
    await Promise.all(runners.map(({ isReady }) => isReady()))
    const front = start({ DATABASE, PORT: "0" })
    programs.push(front)
    const [port] = await front.line(/Listening on \w+:\/\/127\.0\.0\.1:(\d+)/)

    const client = async (index: number) => {
      for (let n = 0; !over.signal.aborted; n++) {
        const request = ask(agent, Number(port), `counter-${(index * 7 + n) % counters}`).then(
          (answer) => answers.push(answer),
          (error: Error) => failed.push(error.message)
        )
        waiting.add(request)
        await request
        waiting.delete(request)
        await sleep(pause)
      }
    }
    const all = Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
    const answered = async (more: number) => {
      const enough = answers.length + more
      while (answers.length < enough && failed.length === 0) await sleep(20)
    }
    await answered(2 * counters)
    const result = await use({
      answers,
      failed,
      upgrade: (runner) => runners[runner]!.upgrade(/Has taken over \d+ shard/),
      upgradeFront: () => front.upgrade(),
      restart: (runner) => runners[runner]!.restart(),
      answered,
      settled: () => Promise.all(waiting)
    })
    over.abort()
    await all
    await front.stop()
    await Promise.all(runners.map(({ stop }) => stop()))
    return [result, wrongIn({ answers, failed, printed: runners.map(({ lines }) => lines()) })]
  } finally {
    over.abort()
    agent.destroy()
    await Promise.all(programs.map(({ end }) => end()))
    fs.rmSync(folder, { recursive: true })
  }
}
