/** Failed requests and latency through upgrades: every subject under every kind of load. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Counts, Crowd, Tally } from "../../test/kit/crowd/crowd.ts"
import { total } from "../../test/kit/crowd/crowd.ts"
import { isInstalled } from "../../test/kit/crowd/wrk.ts"
import { alternating, median, percentile } from "../../test/kit/statistics.ts"
import type { Clients } from "../lib/clients.ts"
import { clients } from "../lib/clients.ts"
import type { Figure } from "../lib/results.ts"
import { subjects } from "../subjects/all.ts"
import type { Subject } from "../subjects/subject.ts"

/** One subject under one load, for one round. */
interface Sample {
  readonly upgrades: number
  readonly tally: Tally
  /** Milliseconds, of each upgrade: until nothing of the older server was left. */
  readonly took: ReadonlyArray<number>
}

interface Cell {
  readonly subject: string
  readonly ours: boolean
  readonly load: string
  readonly samples: Array<Sample>
  /** Why a round has no result. */
  readonly broken: Array<string>
}

/** Milliseconds: longer than any client waits for its last answer. */
const longestStop = 60_000

const stop = async (crowd: Crowd): Promise<Tally> => {
  const given = new AbortController()
  const late = sleep(longestStop, undefined, { signal: given.signal }).then(() => {
    throw new Error(`The clients have not finished within ${longestStop / 1_000} seconds`)
  })
  try {
    return await Promise.race([crowd.stop(), late])
  } finally {
    late.catch(() => {})
    given.abort()
  }
}

const measure = (subject: Subject, load: Clients, upgrades: number): Promise<Sample> =>
  subject.run(load.protocol, async ({ port, upgrade }) => {
    const crowd = load.start(subject, port)
    try {
      await sleep(500)
      const took: Array<number> = []
      for (let count = 0; count < upgrades; count++) {
        const begin = performance.now()
        await upgrade()
        took.push(Math.round(performance.now() - begin))
        await sleep(load.pause)
      }
      return { upgrades, tally: await stop(crowd), took }
    } finally {
      crowd.end()
    }
  })

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((sum, number) => sum + number, 0)
const number = new Intl.NumberFormat("en").format
const milliseconds = (value: number) => value < 10 ? value.toFixed(1) : value.toFixed(0)

const summaryOf = ({ broken, samples, ...cell }: Cell) => {
  const latencies = samples.flatMap(({ tally: { latency } }) => latency ?? [])
  const kinds: Counts = {}
  for (const { tally } of samples) {
    for (const [kind, count] of Object.entries(tally.failed)) kinds[kind] = (kinds[kind] ?? 0) + count
  }
  return {
    ...cell,
    broken,
    upgrades: sum(samples.map(({ upgrades }) => upgrades)),
    requests: sum(samples.map(({ tally }) => tally.requests)),
    failed: total(kinds),
    kinds,
    again: sum(samples.map(({ tally }) => total(tally.again))),
    /** Connections that the server has ended, where the clients count them. */
    closed: samples.some(({ tally }) => tally.closed !== undefined)
      ? sum(samples.map(({ tally }) => tally.closed ?? 0))
      : undefined,
    p50: median(latencies.map(({ p50 }) => p50)),
    p99: median(latencies.map(({ p99 }) => p99)),
    longest: median(latencies.map(({ longest }) => longest)),
    took: median(samples.flatMap(({ took }) => took)),
    slowest: percentile(samples.flatMap(({ took }) => took), 1)
  }
}

export type Summary = ReturnType<typeof summaryOf>

export interface LoadData {
  readonly cells: ReadonlyArray<Summary>
  readonly missing: ReadonlyArray<{ readonly subject: string; readonly install: string }>
}

export const load = async (quick: boolean): Promise<Figure> => {
  const upgrades = quick ? 2 : 20
  const rounds = quick ? 1 : 3
  const missing = subjects.flatMap((subject) => {
    const install = subject.missing()
    return install === undefined ? [] : [{ subject: subject.title, install }]
  })
  const present = subjects.filter((subject) => subject.missing() === undefined)
  const usable = clients.filter(({ needsWrk }) => needsWrk !== true || isInstalled())
  const cells: Array<Cell> = []
  for (const load of usable) {
    const speaking = present.filter(({ protocols }) => protocols.includes(load.protocol))
    const row = speaking.map((subject) => {
      const cell: Cell = { subject: subject.title, ours: subject.ours, load: load.name, samples: [], broken: [] }
      cells.push(cell)
      return { subject, cell }
    })
    for (let round = 0; round < rounds; round++) {
      const times = Math.floor(((load.upgrades ?? upgrades) + round) / rounds)
      for (const { cell: { broken, samples }, subject } of alternating(row, round)) {
        await measure(subject, load, quick ? upgrades : times).then(
          (sample) => samples.push(sample),
          (error: Error) => {
            console.error(error.message)
            broken.push(error.message.split("\n")[0]!)
          }
        )
      }
    }
    for (const { broken, failed, requests, subject, upgrades } of row.map(({ cell }) => summaryOf(cell))) {
      console.log(
        `  ${load.name}, ${subject}: ${number(failed)} of ${number(requests)} failed, ${upgrades} upgrades${
          broken.length === 0 ? "" : `; BROKEN: ${broken.join("; ")}`
        }`
      )
    }
  }
  const summaries = cells.map(summaryOf)
  const keepAlive = summaries.find((cell) => cell.load === "keep-alive" && cell.ours)
  const kept = summaries.find((cell) => cell.load === "kept" && cell.ours)
  return {
    name: "load",
    title:
      `Upgrades under load. Medians of ${rounds} rounds in alternating order; failed requests of all rounds together.`,
    tables: [{
      titles: [
        "load",
        "server",
        "upgrades",
        "requests",
        "failed",
        "per upgrade",
        "sent again",
        "closed per upgrade",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "upgrade ms"
      ],
      rows: summaries.map((cell) => [
        cell.load,
        cell.subject,
        String(cell.upgrades),
        number(cell.requests),
        number(cell.failed),
        (cell.failed / cell.upgrades).toFixed(1),
        number(cell.again),
        cell.closed === undefined ? "–" : (cell.closed / cell.upgrades).toFixed(1),
        ...[cell.p50, cell.p99, cell.longest, cell.took].map(milliseconds)
      ])
    }],
    bars: [
      ...keepAlive === undefined
        ? []
        : [{
          what: "failed requests, 32 busy keep-alive connections",
          value: keepAlive.failed,
          limit: 0,
          is: "at most" as const
        }],
      ...kept === undefined
        ? []
        : [{
          what: "connections closed, of 100 kept",
          value: kept.closed ?? Number.NaN,
          limit: 0,
          is: "at most" as const
        }]
    ],
    notes: [
      ...usable.map(({ name, title }) => `${name}: ${title}`),
      ...usable.length < clients.length
        ? ["wrk is missing, so the loads that need it were left out: apt-get install wrk"]
        : [],
      ...missing.map(({ install, subject }) => `${subject} is missing: ${install}`),
      ...summaries.flatMap(({ broken, kinds, load, subject }) => [
        ...Object.keys(kinds).length === 0
          ? []
          : [`${load}, ${subject}: ${Object.entries(kinds).map(([kind, count]) => `${count} ${kind}`).join(", ")}`],
        ...broken.map((why) => `${load}, ${subject}, broken: ${why}`)
      ])
    ],
    data: { cells: summaries, missing } satisfies LoadData
  }
}

/** What must not be: a failed request of ours, or a measurement of ours that came to nothing. */
export const failuresIn = ({ cells }: LoadData): ReadonlyArray<string> =>
  cells.filter(({ ours }) => ours).flatMap(({ broken, failed, load, requests, subject }) => [
    ...failed > 0 ? [`${subject}, ${load}: ${failed} of ${requests} requests failed`] : [],
    ...broken.map((why) => `${subject}, ${load}: ${why}`)
  ])
