/** A pool of two workers, and what can go wrong with it. */
import * as Effect from "effect/Effect"
import { ask } from "../../test/kit/clients.ts"
import { isAlive } from "../../test/kit/proc.ts"
import { signal, start } from "../../test/kit/processes.ts"
import { eventually } from "../../test/kit/waiting.ts"
import { parentSteps } from "./case.ts"
import type { CrewCase, CrewRunning, Kind } from "./crew.ts"
import { shared } from "./crewShared.ts"
import { cut, end, nobodyElse } from "./disturbances.ts"

const answers = /^REPLACE (.*)/

const kind: Kind = {
  size: 2,
  start: ({ options, pidFile, port, program }) =>
    start(program, {
      env: { PLAN: `${program}.plan`, PROGRAM: "./workers.mjs" },
      detached: true,
      app: { pool: { size: 2, pidFile, ...options }, behaviour: { port } }
    }),
  leads: (app) => app.lines().flatMap((line) => /^UP (\d+)/.exec(line)?.[1] ?? []).map(Number),
  hasComeUp: (app, pid) => app.count(new RegExp(`^WORKER ${pid} `)) > 0,
  hasReplaced: (app) => app.lines().some((line) => answers.exec(line)?.[1] === "replaced"),
  failures: (app) =>
    app.lines().flatMap((line) => {
      const [, upgrade] = /^UPGRADEFAILED \d+ (.*)/.exec(line) ?? []
      const [, roll] = answers.exec(line) ?? []
      return upgrade ?? (roll === undefined || roll === "replaced" ? [] : roll)
    }),
  // The failure of a roll is told to who asked for it.
  logged: (app) => app.count(answers) > 0 ? 1 : app.count(/^LOG \d+ ERROR (?!.*already in progress)/)
}

const adminPort = ({ app, first }: CrewRunning) =>
  Effect.map(app.waitFor(new RegExp(`^UP ${first.lead} \\d+ (\\d+)`)), ([, port]) => Number(port))

/** Replaces every worker. The program says what comes of it. */
export const replace = (running: CrewRunning) =>
  adminPort(running).pipe(
    Effect.flatMap((port) => ask(port, { path: "/replace", within: 60_000 })),
    Effect.ignore,
    Effect.forkScoped,
    Effect.asVoid
  )

export const poolKind = kind

const ends = ["kill", "exit0", "exit1", "throw"] as const

const patience = 8_000

// ---------------------------------------------------------------------------------------------------------------------
// An upgrade of the primary
// ---------------------------------------------------------------------------------------------------------------------

const failed = /^ChildExitedError .*(was killed by SIGKILL|exited with code (0|1|137)) (before it was ready|soon after)/

const newPrimary = (["first line", "before the PID file", "after the PID file", "before the ready byte"] as const)
  .flatMap((step) =>
    [...ends, "stop" as const].map((fault): CrewCase => ({
      kind,
      name: `pool: new primary: ${fault}, ${step}`,
      plan: { 2: { step, fault } },
      options: fault === "stop" ? { upgradeTimeout: patience, stopTimeout: 300 } : { probation: 1_500 },
      outcome: ["old"],
      error: fault === "stop" ? /^UpgradeTimeoutError/ : failed,
      leavesTemporary: step === "before the PID file"
    }))
  )

const newWorker = (["first line", "bound", "before the ready byte"] as const).flatMap((step) =>
  [...ends, "stop" as const].map((fault): CrewCase => ({
    kind,
    name: `pool: worker of the new primary: ${fault}, ${step}`,
    plan: { "worker 2": { step, fault } },
    options: fault === "stop" ? { ready: { timeout: 3_000 }, stop: { timeout: 500 } } : { probation: 1_500 },
    // What is thrown is thrown when this turn of the event loop is over: the worker has become ready.
    outcome: fault === "throw" ? ["old", "new"] : ["old"],
    // A primary that cannot come up ends as its worker has.
    error: /^ChildExitedError .*exited with code (1|137) before it was ready/,
    ...fault === "throw" ? { loses: cut } : {}
  }))
)

const oldPrimary = parentSteps.flatMap((step) =>
  ["kill", "exit1", "throw"].map((fault): CrewCase => ({
    kind,
    name: `pool: old primary: ${fault}, ${step}`,
    plan: { 1: { step, fault } },
    outcome: step === "before the spawn" && fault !== "throw" ? ["nobody"] : ["new"],
    loses: step === "before the spawn" || step === "after the spawn" ? nobodyElse : cut
  }))
)

const duringUpgrade: ReadonlyArray<CrewCase> = [
  {
    kind,
    name: "pool: an old worker is killed during an upgrade",
    disturb: ({ app, first }) => Effect.zipRight(app.waitFor(/^SPAWNED \d+ 2/), signal(first.members[0]!, "SIGKILL")),
    outcome: ["new"],
    loses: cut
  },
  {
    kind,
    name: "pool: all workers, old and new, are killed during an upgrade",
    options: { probation: 1_500 },
    disturb: ({ app, first }) =>
      Effect.flatMap(app.waitFor(/^WORKER (\d+) \d 2/), ([, pid]) =>
        Effect.sync(() => {
          for (const one of [...first.members, Number(pid)]) process.kill(one, "SIGKILL")
        })),
    outcome: ["old", "new"],
    error: failed,
    isRestarted: true,
    loses: cut
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// A roll
// ---------------------------------------------------------------------------------------------------------------------

const rolls = (["first line", "bound", "before the ready byte"] as const).flatMap((step) =>
  [...ends, "stop" as const].map((fault): CrewCase => ({
    kind,
    name: `pool: replacement: ${fault}, ${step}`,
    plan: { "worker 2": { step, fault } },
    ...fault === "stop" ? { options: { ready: { timeout: 3_000 }, stop: { timeout: 500 } } } : {},
    ask: replace,
    outcome: fault === "throw" ? ["old", "new"] : ["old"],
    error: /^ReplaceError Replaced 0 process\(es\) and kept 2/,
    ...fault === "throw" ? { loses: cut } : {}
  }))
)

const duringRoll: ReadonlyArray<CrewCase> = [
  {
    kind,
    name: "pool: worker that is replaced: kill, as it ends",
    plan: { "worker 1": { step: "released", fault: "kill" } },
    ask: replace,
    outcome: ["new"]
  },
  {
    kind,
    name: "pool: an old worker is killed during a roll",
    ask: replace,
    disturb: ({ app, first }) =>
      Effect.zipRight(app.waitFor(/^SPAWNED \d+ worker 2/), signal(first.members[1]!, "SIGKILL")),
    outcome: ["new"],
    loses: cut
  },
  {
    kind,
    name: "pool: HUP during a roll",
    ask: replace,
    disturb: ({ app, first }) => Effect.zipRight(app.waitFor(/^SPAWNED \d+ worker 2/), signal(first.lead, "SIGHUP")),
    outcome: ["new"]
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// At rest, and signals
// ---------------------------------------------------------------------------------------------------------------------

const atRest: ReadonlyArray<CrewCase> = [
  {
    kind,
    name: "pool: a worker is killed",
    isAtRest: true,
    disturb: ({ first }) => end(first.members[0]!, "SIGKILL"),
    outcome: ["old"],
    isRestarted: true,
    loses: cut
  },
  {
    kind,
    name: "pool: a worker gets TERM from somebody else",
    isAtRest: true,
    disturb: ({ first }) => end(first.members[0]!, "SIGTERM"),
    outcome: ["old"],
    isRestarted: true
  },
  {
    kind,
    name: "pool: the primary is killed",
    isAtRest: true,
    disturb: ({ app, first }) =>
      Effect.zipRight(
        signal(first.lead, "SIGKILL"),
        eventually("the workers to end", () => !first.members.some(isAlive), { seen: app.dump })
      ),
    outcome: ["nobody"],
    loses: nobodyElse
  },
  ...shared(kind, { service: "pool", lead: "the primary", members: "all workers", afterHupAndTerm: ["new", "nobody"] })
]

export const poolCases: ReadonlyArray<CrewCase> = [
  ...newPrimary,
  ...newWorker,
  ...oldPrimary,
  ...duringUpgrade,
  ...rolls,
  ...duringRoll,
  ...atRest
]
