/** Latency over time through a few upgrades, request by request: what the picture of the README is drawn from. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Sample } from "../../test/kit/load.ts"
import * as load from "../../test/kit/load.ts"
import { now, percentile } from "../../test/kit/statistics.ts"
import type { Figure } from "../lib/results.ts"
import { close } from "../subjects/close.ts"
import { cluster } from "../subjects/cluster.ts"
import { platform } from "../subjects/ours.ts"
import type { Subject } from "../subjects/subject.ts"

const clients = 32
/** Milliseconds that a client waits after an answer. */
const pause = 10
/** Milliseconds, of what one point of the picture stands for. */
const width = 50
/** Milliseconds from the beginning of an upgrade to that of the next one, unless it takes longer. */
const interval = 2_500

export interface Point {
  /** Milliseconds since the first request. */
  readonly at: number
  readonly median: number
  readonly longest: number
  readonly failed: number
  /** Requests for which a connection had to be made, because the server had ended the last one. */
  readonly connecting: number
}

export interface Line {
  readonly server: string
  readonly points: ReadonlyArray<Point>
  /** From the request for the upgrade until nothing of the older server was left. */
  readonly upgrades: ReadonlyArray<{ readonly from: number; readonly to: number }>
  readonly requests: number
  readonly failed: number
  readonly connecting: number
  readonly p99: number
  readonly longest: number
}

const pointsOf = (samples: ReadonlyArray<Sample>, begin: number): ReadonlyArray<Point> => {
  const bins = new Map<number, Array<Sample>>()
  for (const sample of samples) {
    const at = Math.floor((sample.at - begin) / width) * width
    const bin = bins.get(at)
    if (bin === undefined) bins.set(at, [sample])
    else bin.push(sample)
  }
  const round = (value: number) => Number(value.toFixed(2))
  // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
  return [...bins].sort(([a], [b]) => a - b).map(([at, bin]) => {
    const times = bin.flatMap(({ failure, took }) => failure === undefined ? [took] : [])
    return {
      at,
      median: round(percentile(times, 0.5)),
      longest: round(percentile(times, 1)),
      failed: bin.length - times.length,
      connecting: bin.filter(({ isConnecting }) => isConnecting).length
    }
  })
}

const lineOf = (subject: Subject, upgrades: number): Promise<Line> =>
  subject.run("http", async ({ port, upgrade }) => {
    const crowd = load.start({ port, clients, pause, keepAlive: true })
    // The first second is that of connecting and of code that is not compiled yet.
    await sleep(1_500)
    await crowd.take()
    const begin = now()
    const done: Array<{ from: number; to: number }> = []
    for (let count = 0; count < upgrades; count++) {
      await sleep(Math.max(count === 0 ? 1_000 : 500, 1_000 + count * interval - (now() - begin)))
      const from = now() - begin
      await upgrade()
      done.push({ from: Math.round(from), to: Math.round(now() - begin) })
    }
    await sleep(Math.max(500, upgrades * interval - (now() - begin)))
    const samples = (await crowd.stop()).filter(({ at }) => at >= begin)
    const times = samples.flatMap(({ failure, took }) => failure === undefined ? [took] : [])
    return {
      server: subject.title,
      points: pointsOf(samples, begin),
      upgrades: done,
      requests: samples.length,
      failed: samples.length - times.length,
      connecting: samples.filter(({ isConnecting }) => isConnecting).length,
      p99: percentile(times, 0.99),
      longest: percentile(times, 1)
    }
  })

export const timeline = async (quick: boolean): Promise<Figure> => {
  const upgrades = quick ? 2 : 5
  const lines: Array<Line> = []
  for (const subject of [platform, close, cluster]) lines.push(await lineOf(subject, upgrades))
  return {
    name: "timeline",
    title:
      `${clients} clients on keep-alive connections, each with a request ${pause} ms after its last answer, through ${upgrades} upgrades, one every ${
        interval / 1_000
      } seconds. One run of each.`,
    tables: [{
      titles: ["server", "requests", "failed", "connections made", "p99 ms", "longest ms"],
      rows: lines.map(({ connecting, failed, longest, p99, requests, server }) => [
        server,
        String(requests),
        String(failed),
        String(connecting),
        p99.toFixed(1),
        longest.toFixed(1)
      ])
    }],
    bars: [],
    notes: [],
    data: lines
  }
}
