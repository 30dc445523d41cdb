/**
 * A process of a pool, or of a command under tableflip, that is killed at a step of the hand-over of connections: none ends
 * but those of the one that is killed and the few that are on their way through it, none hangs, and no request is done
 * twice. The clients never connect again.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { ask } from "../../test/kit/clients.ts"
import { directory } from "../../test/kit/files.ts"
import type { Keeper } from "../../test/kit/keepers.ts"
import * as keepers from "../../test/kit/keepers.ts"
import { fixture } from "../../test/kit/paths.ts"
import { freePort, isListening } from "../../test/kit/ports.ts"
import { isAlive } from "../../test/kit/proc.ts"
import type { Handle } from "../../test/kit/processes.ts"
import { onlyAlive, signal, start } from "../../test/kit/processes.ts"
import { run } from "../../test/kit/tableflip.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Trial } from "./trial.ts"
import { check, trial } from "./trial.ts"

type Who = "old worker" | "new worker" | "old process" | "new process" | "tableflip"

interface Fault {
  readonly who: Who
  readonly step: string
  readonly count: number
  /** Made by the one that is killed. */
  readonly file: string
}

interface Victim {
  readonly who: Who
  /** What it is called here. */
  readonly name: string
  readonly steps: ReadonlyArray<string>
  /** Whether somebody serves when all is over. */
  readonly isServed: boolean
  /** What is said of it. */
  readonly says: RegExp
  /** Whether the processes that it has started are killed after it. */
  readonly takesAlong?: boolean
  /** From how many processes connections go through it. */
  readonly givers?: number
}

interface Kind {
  readonly name: string
  /** Processes that serve. */
  readonly size: number
  readonly start: (what: {
    readonly port: number
    readonly fault: Fault
    readonly size: number
  }) => Effect.Effect<Handle, never, Scope.Scope>
  /** Has connections go from some processes to others. */
  readonly ask: (app: Handle) => Effect.Effect<void, never, Scope.Scope>
  /** A line of each process that serves. */
  readonly serves: RegExp
  /** The processes that end all of them, the newest last. */
  readonly leads: (app: Handle) => ReadonlyArray<number>
  readonly victims: ReadonlyArray<Victim>
}

/** How many connections of one process are on their way at once, at most. */
const widest = 16

const primaryGone = /The primary of this pool is gone; finishing/
const wasKilled = /was killed by SIGKILL/
/** What is said by those that it had started. */
const toldToStop = /Draining .*: this process was told to stop/

const idle = 10
const busy = 5

const giver = ["says Passing", "has said Passing", "hears Taken", "has let go"]
const taker = ["hears Passing", "receives", "says Taken", "has said Taken", "is asked", "has answered"]
const fresh = ["has said Serves", ...taker]
const relay = ["hears Passing", "says Passing", "has said Passing", "hears Taken", "says Taken", "has said Taken"]

/** Milliseconds in which whoever asks has an answer or no connection. */
const patience = 30_000

const bounded = <A>(asked: Promise<A>): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("hangs")), patience)
  })
  return Promise.race([asked, late]).finally(() => clearTimeout(timer))
}

/** Asks until it is told to go, or cannot any more. */
const goOnAsking = async (client: Keeper, isOver: () => boolean, failures: Array<string>) => {
  let answered = 0
  try {
    while (!isOver() && !client.wasToldToGo()) {
      await bounded(client.ask(answered % 3 === 0 ? { body: "body" } : {}))
      answered++
    }
  } catch (cause) {
    failures.push(String(cause))
  }
  return answered
}

/** Connections that all go to one process: the others stand still meanwhile. */
const connectTo = (pid: number, all: ReadonlyArray<number>, port: number) =>
  Effect.acquireUseRelease(
    Effect.forEach(all.filter((other) => other !== pid), (other) => signal(other, "SIGSTOP")),
    () =>
      Effect.promise(async () => {
        const clients: Array<Keeper> = []
        for (let made = 0; made < idle + busy; made++) {
          const client = await keepers.connect({ host: "127.0.0.1", port })
          await bounded(client.ask())
          clients.push(client)
        }
        return clients
      }),
    () => Effect.forEach(all.filter((other) => other !== pid), (other) => signal(other, "SIGCONT"))
  )

const portOf = ({ local }: Keeper) => local.split(":").at(-1)!

/** Who has each connection, by its client's port: the last one that has accepted it. */
const owners = (app: Handle, port: number): ReadonlyMap<string, number> =>
  new Map(
    app.lines().flatMap((line) => {
      const [, pid, local, remote] = /^CONNECTED (\d+) (\d+) (\d+)/.exec(line) ?? []
      return Number(local) === port ? [[remote!, Number(pid)] as const] : []
    })
  )

const startedBy = (app: Handle, parent: number) =>
  app.lines().flatMap((line) => {
    const [, pid, ppid] = /^STEPS (\d+) (\d+)/.exec(line) ?? []
    return Number(ppid) === parent ? [Number(pid)] : []
  })

const attempt = (kind: Kind, victim: Victim, step: string, problems: Array<string>) =>
  Effect.gen(function*() {
    const port = yield* freePort
    const fault: Fault = {
      who: victim.who,
      step,
      count: /Serves/.test(step) ? 1 : 1 + Math.floor(Math.random() * 8),
      file: path.join(yield* directory, "killed")
    }
    const app = yield* kind.start({ port, fault, size: kind.size })
    const serving = () => app.lines().flatMap((line) => kind.serves.exec(line)?.slice(1, 2).map(Number) ?? [])
    const members = yield* eventually("all to serve", () => serving().length === kind.size && serving(), {
      within: "60 seconds",
      seen: app.dump
    })
    const clients = (yield* Effect.forEach(members, (pid) => connectTo(pid, members, port))).flat()
    const end = Effect.sync(() => clients.forEach((client) => client.end()))
    yield* Effect.addFinalizer(() => end)
    const failures: Array<string> = []
    let isOver = false
    const asking = Promise.all(
      clients.filter((_, index) => index % (idle + busy) < busy)
        .map((client) => goOnAsking(client, () => isOver, failures))
    )
    yield* kind.ask(app)
    const [, killed] = yield* app.waitFor(/^FAULT (\d+)/, "60 seconds")
    yield* eventually("it to be gone", () => !isAlive(Number(killed)), { within: "60 seconds" })
    isOver = true
    const answered = (yield* Effect.promise(() => asking)).reduce((sum, one) => sum + one, 0)
    const askLast = (client: Keeper) =>
      client.wasToldToGo() ? "told" : bounded(client.ask({ body: "body" })).then(
        () => "answered",
        (cause: unknown) => {
          failures.push(String(cause))
          return "ended"
        }
      )
    const last = yield* Effect.promise(() => Promise.all(clients.map(askLast)))
    const dead = new Set([Number(killed), ...victim.takesAlong === true ? startedBy(app, Number(killed)) : []])
    const have = owners(app, port)
    const ended = clients.filter((_, index) => last[index] === "ended")
    const untouched = ended.filter((client) => !dead.has(have.get(portOf(client)) ?? 0))
    const most = widest * (victim.givers ?? 0)
    check(problems, untouched.length <= most, () => `${untouched.length} connections of others ended, and not ${most}`)
    const hung = failures.filter((failure) => failure.includes("hangs"))
    check(problems, hung.length === 0, () => `${hung.length} clients had neither an answer nor an end`)
    const done = app.lines().flatMap((line) => /^REQUEST \d+ (\S+)/.exec(line)?.[1] ?? [])
    const twice = done.length - new Set(done).size
    check(problems, twice === 0, () => `${twice} requests were done twice`)
    const stray = clients.filter((client) => client.ending()?.startsWith("an answer that nobody awaited") === true)
    check(problems, stray.length === 0, () => `${stray.length} clients got an answer too many`)
    if (victim.isServed) {
      yield* Effect.promise(async () => {
        const client = await keepers.connect({ host: "127.0.0.1", port })
        await bounded(client.ask())
        client.end()
      })
    }
    yield* app.waitFor(victim.says, "60 seconds")
    yield* end
    if (victim.isServed) {
      const lead = kind.leads(app).filter(isAlive).at(-1)
      if (lead === undefined) problems.push("nobody leads")
      else yield* signal(lead, "SIGTERM")
    }
    yield* onlyAlive(app, [])
    check(problems, !(yield* Effect.promise(() => isListening(port))), () => "somebody listens still")
    if (problems.length > 0) problems.push(`at number ${fault.count}`)
    return {
      outcome: victim.isServed ? "others" : "nobody",
      errors: [],
      requests: answered + clients.length + last.filter((how) => how === "answered").length,
      lost: ended.length,
      said: problems.length > 0 ? app.lines().filter((line) => !/^(REQUEST|CONNECTED) /.test(line)).join("\n") : ""
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// Pools
// ---------------------------------------------------------------------------------------------------------------------

const startPool: Kind["start"] = ({ fault, port, size }) =>
  Effect.tap(
    start(fixture("leaving.mjs"), {
      app: {
        fault,
        program: "./workers.mjs",
        pool: { size },
        behaviour: { port, keeps: { keepAliveTimeout: 60_000 } }
      }
    }),
    (app) => app.up(1)
  )

const up = /^UP (\d+) /

const upOnes = (app: Handle) => app.lines().flatMap((line) => up.exec(line)?.slice(1, 2).map(Number) ?? [])

const command = (path: string) => (app: Handle) =>
  app.up(1).pipe(
    Effect.flatMap((primary) => ask(primary.port, { path, within: 60_000 })),
    Effect.ignore,
    Effect.forkScoped,
    Effect.asVoid
  )

const pool = { serves: /^WORKER (\d+) /, start: startPool, leads: upOnes }

const roll: Kind = {
  ...pool,
  name: "a roll of a pool",
  size: 2,
  ask: command("/replace"),
  victims: [
    { who: "old worker", name: "an old worker", steps: giver, isServed: true, says: wasKilled },
    { who: "new worker", name: "a new worker", steps: fresh, isServed: true, says: wasKilled },
    { who: "old process", name: "the primary", steps: relay, isServed: false, says: primaryGone, givers: 1 }
  ]
}

const resize: Kind = {
  ...pool,
  name: "a pool that becomes smaller",
  size: 3,
  ask: command("/resize/1"),
  victims: [
    { who: "old worker", name: "a worker that goes", steps: giver, isServed: true, says: wasKilled },
    { who: "old worker", name: "the worker that stays", steps: taker, isServed: true, says: wasKilled },
    { who: "old process", name: "the primary", steps: relay, isServed: false, says: primaryGone, givers: 2 }
  ]
}

const upgrade: Kind = {
  ...pool,
  name: "an upgrade of a pool",
  size: 2,
  ask: (app) => Effect.flatMap(app.up(1), ({ pid }) => signal(pid, "SIGHUP")),
  victims: [
    { who: "old worker", name: "an old worker", steps: giver, isServed: true, says: wasKilled },
    { who: "new worker", name: "a new worker", steps: fresh, isServed: true, says: wasKilled },
    { who: "old process", name: "the old primary", steps: relay, isServed: true, says: primaryGone, givers: 2 },
    { who: "new process", name: "the new primary", steps: relay, isServed: false, says: primaryGone, givers: 2 }
  ]
}

// ---------------------------------------------------------------------------------------------------------------------
// Under tableflip
// ---------------------------------------------------------------------------------------------------------------------

const steps = pathToFileURL(fixture("steps.mjs")).href

const supervised = (program: string, options: ReadonlyArray<string> = []): Pick<Kind, "start" | "ask" | "leads"> => ({
  start: ({ fault, port, size }) =>
    Effect.tap(
      run({
        nodeFlags: ["--import", steps],
        options: ["--listen", `127.0.0.1:${port}`, "--ready-wire", "--output", "inherit", ...options],
        command: [process.execPath, fixture("leaving.mjs")],
        app: {
          fault,
          program,
          listen: { host: "127.0.0.1", port },
          server: { keepAliveTimeout: 60_000 },
          pool: { size },
          behaviour: { port, keeps: { keepAliveTimeout: 60_000 } }
        }
      }),
      (app) => app.waitFor(/process \d+ is ready/, "60 seconds")
    ),
  ask: (app) => signal(app.pid, "SIGHUP"),
  leads: (app) => [app.pid]
})

const commandVictims = (givers: number): ReadonlyArray<Victim> => [
  { who: "old process", name: "an old command", steps: giver, isServed: true, says: wasKilled },
  { who: "new process", name: "a new command", steps: fresh, isServed: true, says: wasKilled },
  { who: "tableflip", name: "tableflip", steps: relay, isServed: false, says: toldToStop, givers }
]

const single: Kind = {
  ...supervised("./keeping.mjs"),
  name: "a command under tableflip",
  serves: up,
  size: 1,
  victims: commandVictims(1)
}

const copies: Kind = {
  ...supervised("./keeping.mjs", ["--workers", "2"]),
  name: "two copies of a command under tableflip",
  serves: up,
  size: 2,
  victims: commandVictims(2)
}

const poolInside: Kind = {
  ...supervised("./workers.mjs"),
  name: "a pool under tableflip",
  serves: pool.serves,
  size: 2,
  victims: [
    { who: "old worker", name: "an old worker", steps: giver, isServed: true, says: wasKilled },
    { who: "new worker", name: "a new worker", steps: fresh, isServed: true, says: wasKilled },
    {
      who: "old process",
      name: "the old primary",
      steps: relay,
      isServed: true,
      says: wasKilled,
      givers: 2,
      takesAlong: true
    },
    {
      who: "new process",
      name: "the new primary",
      steps: relay,
      isServed: true,
      says: wasKilled,
      givers: 2,
      takesAlong: true
    },
    { who: "tableflip", name: "tableflip", steps: relay, isServed: false, says: toldToStop, givers: 2 }
  ]
}

export const crewConnectionTrials: ReadonlyArray<Trial> = [roll, resize, upgrade, single, copies, poolInside].flatMap(
  (kind) =>
    kind.victims.flatMap((victim) =>
      victim.steps.map((step) =>
        trial(
          { name: `connections: ${kind.name}: ${victim.name} is killed, ${step}` },
          (problems) => attempt(kind, victim, step, problems)
        )
      )
    )
)
