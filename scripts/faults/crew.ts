/** Runs in which a service of several processes is disturbed: the one in charge, and those that serve. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Load } from "../../test/kit/clients.ts"
import { load } from "../../test/kit/clients.ts"
import { descriptorsAtRest, sameDescriptors } from "../../test/kit/descriptors.ts"
import { directory, pidIn } from "../../test/kit/files.ts"
import { freePort } from "../../test/kit/ports.ts"
import { children, isAlive } from "../../test/kit/proc.ts"
import type { Handle } from "../../test/kit/processes.ts"
import { onlyAlive, signal } from "../../test/kit/processes.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Plan } from "./case.ts"
import type { Trial } from "./trial.ts"
import { answersOf, check, checkAlways, putBack, seen, settled, trial } from "./trial.ts"

/** The process in charge, and those that serve; all that there is when nothing is going on. */
export interface Crew {
  readonly lead: number
  readonly members: ReadonlyArray<number>
}

/** Who serves in the end: those that did at first, newer ones that were asked for, or nobody. */
export type CrewOutcome = "old" | "new" | "nobody"

export interface CrewRunning {
  readonly app: Handle
  readonly first: Crew
  readonly port: number
  /** Milliseconds that it took to come up. */
  readonly startTime: number
}

/** What a pool and a supervisor do differently. */
export interface Kind {
  readonly size: number
  readonly start: (what: {
    readonly dir: string
    readonly program: string
    readonly pidFile: string
    readonly port: number
    readonly options: object
  }) => Effect.Effect<Handle, never, Scope.Scope>
  /** The processes in charge that have come up, the newest last. */
  readonly leads: (app: Handle) => ReadonlyArray<number>
  /** Whether the process has said that it serves. */
  readonly hasComeUp: (app: Handle, pid: number) => boolean
  /** The one in charge has put newer ones in the place of the others, as it was asked to. */
  readonly hasReplaced: (app: Handle) => boolean
  /** The errors that have been told of what was asked for. */
  readonly failures: (app: Handle) => ReadonlyArray<string>
  /** How often one was logged. */
  readonly logged: (app: Handle) => number
}

export interface CrewCase {
  readonly kind: Kind
  readonly name: string
  readonly drawn?: string
  readonly plan?: Plan
  /** Options of the pool or of the supervisor. */
  readonly options?: object
  /** How new processes are asked for; by one SIGHUP if not said. */
  readonly ask?: (running: CrewRunning) => Effect.Effect<void, never, Scope.Scope>
  /** Nothing is asked for. */
  readonly isAtRest?: boolean
  /** What is done from outside after that. */
  readonly disturb?: (running: CrewRunning) => Effect.Effect<void, never, Scope.Scope>
  readonly outcome: ReadonlyArray<CrewOutcome>
  /** Tag and message of the error, where the old processes go on. */
  readonly error?: RegExp
  /** Requests that may be lost: those of a process that is ended by force. */
  readonly loses?: RegExp
  /** A process that serves was ended, so another one is in its place. */
  readonly isRestarted?: boolean
  /** A process that is ended between two system calls leaves the temporary file that it was about to rename. */
  readonly leavesTemporary?: boolean
  readonly isOptional?: boolean
}

/** The processes that are there, if they are all that should be; undefined while something is going on. */
const crewOf = ({ kind }: CrewCase, app: Handle): Crew | undefined => {
  const alive = app.alive()
  const leads = kind.leads(app).filter((pid) => alive.includes(pid))
  const [lead] = leads
  if (lead === undefined || leads.length > 1) return undefined
  const members = children(lead).filter(({ state }) => state !== "Z").map(({ pid }) => pid)
  const isWhole = members.length === kind.size && alive.length === kind.size + 1 &&
    members.every((pid) => alive.includes(pid) && kind.hasComeUp(app, pid))
  return isWhole ? { lead, members } : undefined
}

const nobody: Crew = { lead: 0, members: [] }

/** Whose turn it is when nothing moves any more. */
const survivors = (one: CrewCase, { app, first }: CrewRunning): Crew | undefined => {
  if (app.alive().length === 0) return isAlive(first.lead) ? undefined : nobody
  const { failures, hasReplaced, leads } = one.kind
  const hasAnswer = leads(app).length > 1 || hasReplaced(app) || failures(app).length > 0
  return one.isAtRest === true || hasAnswer ? crewOf(one, app) : undefined
}

const serves = (crew: Crew, pidFile: string, { port }: CrewRunning) =>
  Effect.gen(function*() {
    const answers = yield* answersOf(Array.from({ length: 6 }, () => port))
    const others = answers.filter((pid) => !crew.members.includes(pid))
    if (others.length > 0) yield* Effect.dieMessage(`${others.join(", ")} answer, and not only ${crew.members.join()}`)
    yield* eventually(`the PID file to name ${crew.lead}`, () => pidIn(pidFile) === crew.lead, {
      within: "5 seconds",
      seen: () => `it names ${pidIn(pidFile)}`
    })
    for (const pid of [crew.lead, ...crew.members]) {
      const zombies = children(pid).filter(({ state }) => state === "Z")
      if (zombies.length > 0) yield* Effect.dieMessage(`process ${pid} has zombies: ${JSON.stringify(zombies)}`)
    }
  })

/** The next reload works, and the stop after it leaves nothing. */
const goesOn = (one: CrewCase, crew: Crew, running: CrewRunning, program: string, pidFile: string) =>
  Effect.gen(function*() {
    const { app } = running
    yield* putBack(program, {})
    yield* signal(crew.lead, "SIGHUP")
    const next = yield* settled("the next reload", app, () => {
      const found = crewOf(one, app)
      return found !== undefined && !found.members.some((pid) => crew.members.includes(pid)) ? found : undefined
    })
    yield* serves(next, pidFile, running)
    yield* signal(next.lead, "SIGTERM")
    yield* onlyAlive(app, [])
    if (fs.existsSync(pidFile)) yield* Effect.dieMessage("the PID file is left behind")
    const left = fs.readdirSync(path.dirname(pidFile)).filter((name) => name.startsWith("."))
    if (left.length > (one.leavesTemporary === true ? 1 : 0)) {
      yield* Effect.dieMessage(`temporary files are left: ${left.join(" ")}`)
    }
  })

const checkAll = (
  problems: Array<string>,
  one: CrewCase,
  { app, first }: CrewRunning,
  { crew, outcome, clients }: { readonly crew: Crew; readonly outcome: CrewOutcome; readonly clients: Load }
) => {
  check(problems, one.outcome.includes(outcome), () => `served by ${outcome}, not by ${one.outcome.join(" or ")}`)
  if (outcome === "old" && one.isAtRest !== true) {
    const errors = one.kind.failures(app)
    check(problems, errors.length === 1, () => `${errors.length} failures were told`)
    check(problems, one.error?.test(errors[0] ?? "") === true, () => `the error is ${errors[0]}`)
    check(problems, one.kind.logged(app) === 1, () => `the error was logged ${one.kind.logged(app)} times`)
  }
  if (outcome === "old" && one.isRestarted !== true) {
    const left = first.members.filter((pid) => !crew.members.includes(pid))
    check(problems, left.length === 0, () => `of those that were there at first, ${left.join(", ")} are gone`)
  }
  checkAlways(problems, { app, clients, loses: one.loses, plan: one.plan, isOptional: one.isOptional })
}

const attempt = (one: CrewCase, problems: Array<string>) =>
  Effect.gen(function*() {
    const dir = yield* directory
    const program = path.join(dir, "main.mjs")
    const pidFile = path.join(dir, "app.pid")
    const port = yield* freePort
    yield* putBack(program, one.plan ?? {})
    const begin = performance.now()
    const app = yield* one.kind.start({ dir, program, pidFile, port, options: one.options ?? {} })
    const first = yield* settled("the first start", app, () => crewOf(one, app))
    const running: CrewRunning = { app, first, port, startTime: performance.now() - begin }
    const before = yield* descriptorsAtRest(first.lead)
    // A process that is stopped for a while keeps its clients waiting, and answers them after that.
    const clients = yield* load(port, 3, 30_000)
    const judged = Effect.gen(function*() {
      if (one.isAtRest !== true) yield* one.ask?.(running) ?? signal(first.lead, "SIGHUP")
      yield* one.disturb?.(running) ?? Effect.void
      const crew = yield* settled("all processes to serve, or none", app, () => survivors(one, running))
      yield* clients.stop
      const isNew = crew.lead !== first.lead || one.kind.hasReplaced(app)
      const outcome = crew.lead === nobody.lead ? "nobody" : isNew ? "new" : "old"
      checkAll(problems, one, running, { crew, outcome, clients })
      if (outcome === "nobody") {
        yield* onlyAlive(app, [])
        return outcome
      }
      yield* serves(crew, pidFile, running)
      if (crew.lead === first.lead) yield* sameDescriptors(crew.lead, before)
      yield* goesOn(one, crew, running, program, pidFile)
      return outcome
    })
    return yield* seen({ app, clients, problems, errors: () => one.kind.failures(app) }, judged)
  })

export const trialOf = (one: CrewCase): Trial => trial(one, (problems) => attempt(one, problems))
