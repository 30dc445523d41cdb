/**
 * A process that is killed at a step of the hand-over of its connections, or of those that come to it: no connection ends
 * but those of the one that is killed, and no request is done twice. The clients never connect again.
 */
import * as Effect from "effect/Effect"
import * as path from "node:path"
import type { ServerReport } from "../../src/Drain.ts"
import { directory } from "../../test/kit/files.ts"
import type { Answer, Keeper } from "../../test/kit/keepers.ts"
import * as keepers from "../../test/kit/keepers.ts"
import { fixture } from "../../test/kit/paths.ts"
import { isAlive } from "../../test/kit/proc.ts"
import type { Handle } from "../../test/kit/processes.ts"
import { signal, start } from "../../test/kit/processes.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Trial } from "./trial.ts"
import { check, trial } from "./trial.ts"

interface Case {
  readonly killed: "old" | "new"
  readonly step: string
  /** How many connections have then gone over, after so many at this step; none if that is not the same each time. */
  readonly gone?: (count: number) => number
  /** The new process is not ready then, and the old one goes on. */
  readonly isUnready?: boolean
}

const all = (count: number) => count
const before = (count: number) => count - 1

const cases: ReadonlyArray<Case> = [
  { killed: "old", step: "says Passing", gone: before },
  { killed: "old", step: "has said Passing", gone: all },
  { killed: "old", step: "hears Taken" },
  { killed: "old", step: "has let go" },
  { killed: "new", step: "has said Serves", gone: () => 0, isUnready: true },
  { killed: "new", step: "receives", gone: before },
  { killed: "new", step: "says Taken", gone: before },
  { killed: "new", step: "has said Taken", gone: all },
  { killed: "new", step: "is asked" },
  { killed: "new", step: "has answered" }
]

const idle = 30
const busy = 10

/** Steps that come once. */
const once = /Serves/

const countFor = ({ step }: Case) => once.test(step) ? 1 : 1 + Math.floor(Math.random() * 20)

/** Asks until it is told to go, or cannot any more. */
const goOnAsking = async (client: Keeper, isOver: () => boolean) => {
  let answered = 0
  try {
    while (!isOver() && !client.wasToldToGo()) {
      await client.ask(answered % 3 === 0 ? { body: "body" } : {})
      answered++
    }
  } catch {
    // It shows below whether that had to be.
  }
  return answered
}

const askLast = (client: Keeper) =>
  client.wasToldToGo() ? undefined : client.ask({ body: "body" }).catch(() => undefined)

const reportOf = (app: Handle, pid: number) =>
  Effect.map(app.waitFor(new RegExp(`^EVENT ${pid} Drained (.*)`), "60 seconds"), ([, json]) => {
    const { report } = JSON.parse(json!) as { readonly report: { readonly servers: ReadonlyArray<ServerReport> } }
    return report.servers[0]!
  })

const portOf = ({ local }: Keeper) => Number(local.split(":").at(-1))

const attempt = ({ gone, isUnready = false, killed, step }: Case, count: number, problems: Array<string>) =>
  Effect.gen(function*() {
    const app = yield* start(fixture("leaving.mjs"), {
      app: {
        fault: { who: `${killed} process`, step, count, file: path.join(yield* directory, "killed") },
        server: { keepAliveTimeout: 60_000 }
      }
    })
    const first = yield* app.up(1)
    const clients: Array<Keeper> = []
    yield* Effect.addFinalizer(() => Effect.sync(() => clients.forEach((client) => client.end())))
    for (let made = 0; made < idle + busy; made++) {
      const client = yield* Effect.promise(() => keepers.connect({ host: "127.0.0.1", port: first.port }))
      yield* Effect.promise(() => client.ask())
      clients.push(client)
    }
    let isOver = false
    const asking = Promise.all(clients.slice(idle).map((client) => goOnAsking(client, () => isOver)))
    yield* signal(first.pid, "SIGHUP")
    const second = yield* app.waitFor(/^CHANNEL (\d+) 2 /, "60 seconds")
    const newer = Number(second[1])
    // A step of the newer process may take a request.
    if (/ask|answer/.test(step)) {
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`), "60 seconds")
      for (const client of clients.slice(0, idle)) yield* Effect.promise(() => client.ask().catch(() => undefined))
    }
    yield* app.waitFor(/^FAULT /, "60 seconds")
    const victim = killed === "old" ? first.pid : newer
    yield* eventually("it to be gone", () => !isAlive(victim), { within: "60 seconds" })
    isOver = true
    const answered = (yield* Effect.promise(() => asking)).reduce((sum, one) => sum + one, 0)
    const answers = yield* Effect.promise(() => Promise.all(clients.map(askLast)))
    const by = (pid: number) => answers.filter((answer: Answer | undefined) => answer?.pid === pid).length
    const told = clients.filter((client, index) => client.wasToldToGo() && answers[index] === undefined).length
    const lost = clients.length - by(first.pid) - by(newer) - told
    if (killed === "new") {
      const { handedOver } = isUnready ? { handedOver: 0 } : yield* reportOf(app, first.pid)
      check(problems, lost === handedOver, () => `${lost} connections ended, and ${handedOver} had gone over`)
      if (gone !== undefined) check(problems, handedOver === gone(count), () => `${handedOver} had gone over`)
    } else {
      const ports = new Set(clients.map(portOf))
      const taken = app.lines().filter((line) => {
        const [, pid, port] = /^CONNECTED (\d+) \d+ (\d+)/.exec(line) ?? []
        return Number(pid) === newer && ports.has(Number(port))
      }).length
      check(problems, by(newer) === taken, () => `${taken} had gone over, and ${by(newer)} are answered`)
      if (gone !== undefined) check(problems, taken === gone(count), () => `${taken} had gone over`)
    }
    const done = app.lines().flatMap((line) => /^REQUEST \d+ (\S+)/.exec(line)?.[1] ?? [])
    const twice = done.length - new Set(done).size
    check(problems, twice === 0, () => `${twice} requests were done twice`)
    const stray = clients.filter((client) => client.ending()?.startsWith("an answer that nobody awaited") === true)
    check(problems, stray.length === 0, () => `${stray.length} clients got an answer too many`)
    return {
      outcome: killed === "old" ? "new" : "old",
      errors: [],
      requests: answered + clients.length + answers.filter((answer) => answer !== undefined).length,
      lost,
      said: problems.length > 0 ? app.lines().filter((line) => !line.startsWith("REQUEST")).join("\n") : ""
    }
  })

export const connectionTrials: ReadonlyArray<Trial> = cases.map((one) => {
  const name = `connections: the ${one.killed} process is killed, ${one.step}`
  return trial({ name }, (problems) =>
    Effect.suspend(() => {
      const count = countFor(one)
      return Effect.tap(attempt(one, count, problems), () =>
        Effect.sync(() => {
          if (problems.length > 0) problems.push(`at number ${count}`)
        }))
    }))
})
