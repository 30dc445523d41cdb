/** Many rounds in a row under light load: what fails, what is left of each round, and what grows. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { ask } from "../../test/kit/clients.ts"
import { openDescriptors } from "../../test/kit/descriptors.ts"
import { directory, pidIn } from "../../test/kit/files.ts"
import type { Sample } from "../../test/kit/load.ts"
import * as load from "../../test/kit/load.ts"
import { freePort } from "../../test/kit/ports.ts"
import { children, isAlive, megabytes } from "../../test/kit/proc.ts"
import type { Handle } from "../../test/kit/processes.ts"
import { start } from "../../test/kit/processes.ts"
import { median } from "../../test/kit/statistics.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Subject } from "./subjects.ts"

export interface Look {
  readonly round: number
  readonly processes: number
  readonly zombies: number
  /** Of the process in the PID file. */
  readonly descriptors: number
  readonly megabytes: number
  readonly requests: number
  readonly failed: number
}

export interface Outcome {
  readonly looks: ReadonlyArray<Look>
  readonly rounds: number
  /** Milliseconds from the signal until all was calm again. */
  readonly median: number
  readonly longest: number
  readonly problems: ReadonlyArray<string>
}

const zombiesOf = (pids: ReadonlyArray<number>) => pids.flatMap(children).filter(({ state }) => state === "Z").length

interface Calm {
  /** The process in the PID file. */
  readonly main: number
  readonly alive: ReadonlyArray<number>
}

/** As many processes as there should be, none of which was there before, and one of them answers. */
const look = (app: Handle, { isReplaced, processes }: Subject, pidFile: string, before: ReadonlyArray<number>) => {
  const main = pidIn(pidFile)
  const alive = app.alive()
  const isNew = alive.every((pid) => !before.includes(pid) || (!isReplaced && pid === main))
  return alive.length === processes && alive.includes(main) && isNew ? { main, alive } : undefined
}

const answering = (port: number): Effect.Effect<number> =>
  Effect.match(ask(port), {
    onSuccess: ({ body }) => Number(/process (\d+)/.exec(body)?.[1]),
    onFailure: () => 0
  })

const calm = (
  app: Handle,
  subject: Subject,
  options: { readonly port: number; readonly pidFile: string },
  before: ReadonlyArray<number>
): Effect.Effect<Calm> => {
  const find = eventually("all to be calm again", () => look(app, subject, options.pidFile, before), {
    within: "90 seconds",
    seen: () => `alive: ${app.alive().join(", ")}\n${app.lines().slice(-30).join("\n")}`
  })
  const attempt: Effect.Effect<Calm> = Effect.gen(function*() {
    const found = yield* find
    const pid = yield* answering(options.port)
    // A process shows no environment, by which it is found, for a moment while it is started: so look again.
    const again = look(app, subject, options.pidFile, before)
    return String(again?.alive) === String(found.alive) && found.alive.includes(pid)
      ? found
      : yield* Effect.delay(attempt, "50 millis")
  })
  return attempt
}

export const soak = (subject: Subject, rounds: number, tell: (look: Look) => void): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const dir = yield* directory
    const pidFile = path.join(dir, "app.pid")
    const port = yield* freePort
    const app = yield* start(undefined, {
      args: subject.args({ port, pidFile, dir }),
      env: subject.environment({ port, pidFile })
    })
    let { alive, main } = yield* calm(app, subject, { port, pidFile }, [])
    const clients = yield* Effect.acquireRelease(
      Effect.sync(() => [true, false].map((keepAlive) => load.start({ port, clients: 2, pause: 20, keepAlive }))),
      (clients) => Effect.promise(() => Promise.all(clients.map((each) => each.stop())))
    )
    const looks: Array<Look> = []
    const times: Array<number> = []
    const problems: Array<string> = []
    const failures = new Map<string, number>()
    let requests = 0
    let failed = 0

    const count = (samples: ReadonlyArray<Sample>) => {
      requests += samples.length
      for (const { failure } of samples) {
        if (failure === undefined) continue
        failed++
        failures.set(failure, (failures.get(failure) ?? 0) + 1)
      }
    }

    const measure = Effect.fnUntraced(function*(round: number) {
      // The fewest of several counts: clients have a connection open now and then.
      let descriptors = Number.POSITIVE_INFINITY
      for (let times = 0; times < 20; times++) {
        yield* Effect.sleep("50 millis")
        descriptors = Math.min(descriptors, openDescriptors(main).length)
      }
      const seen: Look = {
        round,
        processes: app.alive().length,
        zombies: zombiesOf(alive),
        descriptors,
        megabytes: megabytes(main),
        requests,
        failed
      }
      looks.push(seen)
      tell(seen)
    })

    const step = Math.max(1, Math.floor(rounds / 10))
    const started = app.lines().length
    yield* measure(0)
    for (let round = 1; round <= rounds; round++) {
      const begin = performance.now()
      process.kill(main, "SIGHUP")
      ;({ alive, main } = yield* calm(app, subject, { port, pidFile }, alive))
      times.push(performance.now() - begin)
      for (const each of clients) count(yield* Effect.promise(() => each.take()))
      if (round === subject.warmUp || round % step === 0 || round === rounds) yield* measure(round)
    }
    for (const each of clients.splice(0)) count(yield* Effect.promise(() => each.stop()))

    process.kill(main, "SIGTERM")
    yield* eventually("the end", () => app.alive().length === 0 && !isAlive(main), { within: "60 seconds" })
    const left = fs.readdirSync(dir)

    const [second, last] = [looks.find(({ round }) => round === subject.warmUp) ?? looks[0]!, looks.at(-1)!]
    for (const [kind, times] of failures) problems.push(`${times} requests failed: ${kind}`)
    if (requests === 0) problems.push("no request was made")
    for (const { processes, round, zombies } of looks) {
      if (processes !== subject.processes) problems.push(`${processes} processes after round ${round}`)
      if (zombies > 0) problems.push(`${zombies} zombies after round ${round}`)
    }
    if (last.descriptors !== second.descriptors) {
      problems.push(`descriptors went from ${second.descriptors} to ${last.descriptors}`)
    }
    // A heap that has not been collected lately is larger; what grows with every round is larger still.
    if (last.megabytes > second.megabytes * 1.3) {
      problems.push(`memory went from ${second.megabytes.toFixed(1)} to ${last.megabytes.toFixed(1)} MB`)
    }
    if (left.length > 0) problems.push(`files are left: ${left.join(" ")}`)
    const strange = app.lines().slice(started).filter((line) => /ERROR|FATAL|Warning:|nhandled/.test(line))
    if (strange.length > 0) problems.push(`said ${strange.length} times: ${strange[0]}`)
    return { looks, rounds, median: median(times), longest: Math.max(...times), problems }
  }).pipe(
    Effect.scoped,
    // What is polled for at the end of one subject must not meet the start of the next.
    Effect.tap(() => Effect.promise(() => sleep(500)))
  )
