/** A great many idle connections through an upgrade: what becomes of them, how long it takes, and what stands still. */
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { total } from "../../test/kit/crowd/crowd.ts"
import type { HeldOptions, HeldTally } from "../../test/kit/crowd/held.ts"
import * as held from "../../test/kit/crowd/held.ts"
import * as generations from "../../test/kit/generations.ts"
import { now } from "../../test/kit/statistics.ts"
import type { Bar, Figure } from "../lib/results.ts"
import { goTableflip } from "../subjects/goTableflip.ts"
import type { Running } from "../subjects/subject.ts"
import { processes } from "../subjects/subject.ts"

const program = fileURLToPath(new URL("../programs/crowded.js", import.meta.url))

type Protocol = HeldOptions["protocol"]

/** What an upgrade has cost a process. */
interface Cost {
  /** Milliseconds for which the event loop stood still at the longest, by the process's own work. */
  readonly blocked: number
  /** Milliseconds. */
  readonly cpu: number
  readonly megabytes: number
}

interface Sample {
  readonly way: string
  readonly protocol: Protocol
  readonly connections: number
  readonly tally: HeldTally
  /** Milliseconds until nothing of the older process was left. */
  readonly took: number
  readonly older?: Cost
  readonly newer?: Cost
}

interface Way {
  readonly title: string
  readonly protocols: ReadonlyArray<Protocol>
  readonly missing: () => string | undefined
  readonly run: <A>(protocol: Protocol, use: (running: Measured) => Promise<A>) => Promise<A>
}

interface Measured extends Pick<Running, "port"> {
  /** Replaces the server, and tells what that has cost both processes, where they can tell. */
  readonly upgrade: () => Promise<Pick<Sample, "took" | "older" | "newer">>
}

const timed = async (upgrade: () => Promise<void>) => {
  const begin = now()
  await upgrade()
  return Math.round(now() - begin)
}

const ours = (end: string, title: string): Way => ({
  title,
  protocols: ["http", "ws"],
  missing: () => undefined,
  run: async (_, use) => {
    const server = generations.start({ args: [program], environment: { END: end } })
    try {
      const [port] = await server.line(/^PORT (\d+)/)
      const running = await processes(server, {
        port: Number(port),
        count: 1,
        sayAlone: true,
        ask: () => process.kill(running.pids()[0]!, "SIGHUP")
      })
      const costOf = async (pid: number, from: number): Promise<Cost> =>
        JSON.parse((await server.line(new RegExp(`^COST ${pid} (.*)`), { from }))[0]!)
      /** Since it was asked last. */
      const ask = (pid: number) => {
        const from = server.position()
        process.kill(pid, "SIGUSR2")
        return costOf(pid, from)
      }
      return await use({
        port: running.port,
        upgrade: async () => {
          const [older] = running.pids() as [number]
          await ask(older)
          const from = server.position()
          const took = await timed(running.upgrade)
          return { took, older: await costOf(older, from), newer: await ask(running.pids()[0]!) }
        }
      })
    } finally {
      await server.end()
    }
  }
})

const ways: ReadonlyArray<Way> = [
  ours("handOver", "ours"),
  ours("drain", "ours, handOver: false"),
  ours("close", "server.close()"),
  {
    title: goTableflip.title,
    protocols: ["http"],
    missing: goTableflip.missing,
    run: (_, use) =>
      goTableflip.run(
        "http",
        ({ port, upgrade }) => use({ port, upgrade: async () => ({ took: await timed(upgrade) }) })
      )
  }
]

const once = (way: Way, protocol: Protocol, connections: number): Promise<Sample> =>
  way.run(protocol, async ({ port, upgrade }) => {
    const clients = held.start({ port, protocol, connections, reconnects: true })
    try {
      await clients.ready()
      await sleep(500)
      const measured = await upgrade()
      const tally = await clients.stop()
      return { way: way.title, protocol, connections, tally, ...measured }
    } finally {
      clients.end()
    }
  })

const number = new Intl.NumberFormat("en").format
const orNone = (value: number | undefined) => value === undefined ? "-" : number(Math.round(value))

const rowOf = ({ connections, newer, older, protocol, tally, took, way }: Sample) => [
  protocol === "http" ? "keep-alive" : "WebSocket",
  number(connections),
  way,
  number(tally.closed),
  number(total(tally.failed)),
  number(took),
  ...[older?.blocked, newer?.blocked, older?.cpu, newer?.cpu, older?.megabytes, newer?.megabytes].map(orNone),
  ...[tally.back?.p50, tally.back?.p99].map(orNone)
]

/** The greatest of each, of the samples of one way. */
const barsOf = (samples: ReadonlyArray<Sample>): ReadonlyArray<Bar> => {
  const [kept, sentAway] = ways.map(({ title }) => samples.filter(({ way }) => way === title))
  const greatest = (of: ReadonlyArray<Sample>, what: (sample: Sample) => number) =>
    Math.round(Math.max(0, ...of.map(what)))
  const most = number(Math.max(...samples.map(({ connections }) => connections)))
  const blocked = ({ newer, older }: Sample) => Math.max(older?.blocked ?? 0, newer?.blocked ?? 0)
  return kept === undefined || sentAway === undefined ? [] : [
    { what: `closed, ${most} handed over`, value: greatest(kept, (of) => of.tally.closed), limit: 0, is: "at most" },
    {
      what: `failed, ${most} handed over`,
      value: greatest(kept, (of) => total(of.tally.failed)),
      limit: 0,
      is: "at most"
    },
    {
      what: `failed, ${most} sent away`,
      value: greatest(sentAway, (of) => total(of.tally.failed)),
      limit: 0,
      is: "at most"
    },
    {
      what: `ms until clients of ${most} are back (p99)`,
      value: greatest(sentAway, (of) => of.tally.back?.p99 ?? 0),
      limit: 500,
      is: "at most"
    },
    { what: "ms of event loop blocked", value: greatest([...kept, ...sentAway], blocked), limit: 100, is: "at most" }
  ]
}

export const scale = async (quick: boolean): Promise<Figure> => {
  const counts = quick ? [200, 1_000] : [1_000, 5_000, 19_000]
  const samples: Array<Sample> = []
  const notes: Array<string> = []
  const present = ways.filter(({ missing }) => missing() === undefined)
  for (const connections of counts) {
    for (const protocol of ["http", "ws"] as const) {
      for (const way of present.filter(({ protocols }) => protocols.includes(protocol))) {
        try {
          const sample = await once(way, protocol, connections)
          samples.push(sample)
          console.log(`  ${rowOf(sample).join("  ")}`)
          for (const [kind, count] of Object.entries(sample.tally.failed)) {
            notes.push(`${way.title}, ${number(connections)} of ${protocol}: ${number(count)} ${kind}`)
          }
        } catch (error) {
          notes.push(`${way.title}, ${number(connections)} of ${protocol}, broken: ${String(error).split("\n")[0]}`)
        }
      }
    }
  }
  return {
    name: "scale",
    title:
      "Idle connections through one upgrade. Their clients come back at once when they are closed, and each has a request at the end.",
    tables: [{
      titles: [
        "connections",
        "",
        "server",
        "closed",
        "failed",
        "upgrade ms",
        "old blocked ms",
        "new blocked ms",
        "old CPU ms",
        "new CPU ms",
        "old MB",
        "new MB",
        "back p50 ms",
        "back p99 ms"
      ],
      rows: samples.map(rowOf)
    }],
    bars: barsOf(samples),
    notes: [
      ...notes,
      ...ways.flatMap(({ missing, title }) => missing() === undefined ? [] : [`${title} is missing: ${missing()}`])
    ],
    data: samples
  }
}
