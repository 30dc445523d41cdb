/** How much several servers can answer, one after the other in alternating order, as wrk counts it. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { alternating, median } from "../../test/kit/statistics.ts"

export interface Contestant {
  readonly name: string
  readonly url: string
  /** The processes whose time counts, if that is of interest. */
  readonly pids: () => ReadonlyArray<number>
}

export interface Throughput {
  readonly name: string
  readonly perSecond: number
  readonly perProcessorSecond: number
  readonly failed: number
  /** Requests a second, round by round. */
  readonly rounds: ReadonlyArray<number>
}

/** Seconds of processor time that a process has used (proc(5): utime and stime, in ticks of 10 ms). */
const processorTime = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13)
  return (Number(user) + Number(system)) / 100
}

const measure = ({ pids, url }: Contestant, seconds: number, args: ReadonlyArray<string>) => {
  const time = () => pids().reduce((sum, pid) => sum + processorTime(pid), 0)
  const before = time()
  const { stdout } = spawnSync("wrk", ["-t1", "-c32", `-d${seconds}s`, ...args, url], { encoding: "utf8" })
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  const errors = /Socket errors: (.*)/.exec(stdout)?.[1]?.match(/\d+/g)?.map(Number) ?? []
  return {
    perSecond: requests / seconds,
    perProcessorSecond: requests / (time() - before),
    failed: errors.reduce((sum, count) => sum + count, 0)
  }
}

export const compare = (
  contestants: ReadonlyArray<Contestant>,
  rounds: number,
  args: ReadonlyArray<string> = []
): ReadonlyArray<Throughput> => {
  const all = contestants.map((contestant) => ({ contestant, samples: [] as Array<ReturnType<typeof measure>> }))
  for (const contestant of contestants) measure(contestant, 2, args)
  for (let round = 0; round < rounds; round++) {
    for (const { contestant, samples } of alternating(all, round)) samples.push(measure(contestant, 2, args))
  }
  return all.map(({ contestant: { name }, samples }) => ({
    name,
    perSecond: median(samples.map(({ perSecond }) => perSecond)),
    perProcessorSecond: median(samples.map(({ perProcessorSecond }) => perProcessorSecond)),
    failed: samples.reduce((sum, { failed }) => sum + failed, 0),
    rounds: samples.map(({ perSecond }) => Math.round(perSecond))
  }))
}

export const withoutWrk = (name: string, title: string) => ({
  name,
  title,
  tables: [],
  bars: [],
  notes: ["Left out: wrk is missing (apt-get install wrk)"],
  data: {}
})
