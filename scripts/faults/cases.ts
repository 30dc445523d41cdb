/** The matrix: every step of a hand-over on both sides, and what can go wrong at it. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { isAlive } from "../../test/kit/proc.ts"
import { signal } from "../../test/kit/processes.ts"
import type { Case, Outcome, Running } from "./case.ts"
import { parentSteps } from "./case.ts"
import { cut, nobodyElse } from "./disturbances.ts"
import { environmentCases, withoutPrlimit } from "./environment.ts"

/** Milliseconds; long enough for a start on a busy machine. */
const patience = 10_000

// ---------------------------------------------------------------------------------------------------------------------
// The new process
// ---------------------------------------------------------------------------------------------------------------------

const childSteps = [
  "first line",
  "bound",
  "before the PID file",
  "after the PID file",
  "before the ready byte",
  "after the ready byte",
  "up"
] as const

const ends = {
  kill: "was killed by SIGKILL",
  exit0: "exited with code 0",
  exit1: "exited with code 1",
  throw: "exited with code 1"
}

const isReadyAt = (step: string, fault: string): boolean =>
  step === "after the ready byte" || step === "up" ||
  // What is thrown is thrown when this turn of the event loop is over.
  (fault === "throw" && (step === "after the PID file" || step === "before the ready byte"))

/** The PID file is being written, or is about to be. */
const isWriting = (step: string): boolean => step === "bound" || step === "before the PID file"

const childEnds = childSteps.flatMap((step) =>
  Object.entries(ends).map(([fault, how]): Case => {
    const isReady = isReadyAt(step, fault)
    return {
      name: `child: ${fault}, ${step}`,
      plan: { 2: { step, fault } },
      upgrader: isReady ? { probation: 1_500 } : {},
      outcome: ["parent"],
      ...isWriting(step) ? { leavesTemporary: true } : {},
      error: new RegExp(`^ChildExitedError .*${how} (before it was ready|soon after)`),
      ...isReady ? { loses: cut } : {}
    }
  })
)

// Without probation a process that has said that it is ready is believed.
const childEndsUnwatched = (["after the ready byte", "up"] as const).map((step): Case => ({
  name: `child: kill, ${step}, without probation`,
  plan: { 2: { step, fault: "kill" } },
  outcome: ["parent", "nobody"],
  error: /^ChildExitedError .*was killed by SIGKILL/,
  loses: nobodyElse
}))

const continued = (pid: number) => isAlive(pid) ? signal(pid, "SIGCONT") : Effect.void

const stoppedPid = ({ app }: Running) => Effect.map(app.waitFor(/^FAULT (\d+) \S+ stop/), ([, pid]) => Number(pid))

const childStops = childSteps.filter((step) => !isReadyAt(step, "stop")).flatMap((step): ReadonlyArray<Case> => [
  {
    name: `child: stop, ${step}`,
    plan: { 2: { step, fault: "stop" } },
    upgrader: { upgradeTimeout: patience, stopTimeout: 300 },
    outcome: ["parent"],
    ...isWriting(step) ? { leavesTemporary: true } : {},
    error: /^UpgradeTimeoutError .*not ready within 10s and was ended/
  },
  {
    name: `child: stop, ${step}, continued after the timeout`,
    plan: { 2: { step, fault: "stop" } },
    upgrader: { upgradeTimeout: patience, stopTimeout: 20_000 },
    disturb: (running) =>
      Effect.gen(function*() {
        const pid = yield* stoppedPid(running)
        yield* Effect.sleep(patience + 500)
        yield* continued(pid)
      }),
    outcome: ["parent"],
    error: /^UpgradeTimeoutError .*not ready within 10s and was ended/
  }
])

const childBreaks: ReadonlyArray<Case> = [
  ...(["first line", "bound", "before the ready byte"] as const).map((step): Case => ({
    name: `child: close the ready stream, ${step}`,
    plan: { 2: { step, fault: "close ready" } },
    outcome: ["parent"],
    error: /^ProtocolError .*the ready stream ended without a word|^ChildExitedError .*exited with code 1 before/
  })),
  ...(["first line", "bound", "before the ready byte"] as const).map((step): Case => ({
    name: `child: garbage on the ready stream, ${step}`,
    plan: { 2: { step, fault: "garbage on ready" } },
    outcome: ["parent"],
    error: /^ProtocolError .*the ready stream carried/
  })),
  {
    name: "child: close the names stream, first line",
    plan: { 2: { step: "first line", fault: "close names" } },
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/
  },
  ...(["close listener", "close listener and end slowly"] as const).map((fault): Case => ({
    name: `child: ${fault}, first line`,
    plan: { 2: { step: "first line", fault } },
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/
  })),
  ...(["clock forward", "clock back"] as const).map((fault): Case => ({
    name: `child: ${fault} a day, first line`,
    plan: { 2: { step: "first line", fault } },
    outcome: ["child"]
  })),
  {
    name: "child: few descriptors, first line",
    plan: { 2: { step: "first line", fault: "few descriptors", limit: 12 } },
    outcome: ["parent"],
    error: /^ChildExitedError .*before it was ready/,
    skipped: withoutPrlimit
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// The old process
// ---------------------------------------------------------------------------------------------------------------------

const everyParentStep = [...parentSteps, "exiting"] as const

const parentEnds = everyParentStep.flatMap((step) =>
  Object.keys(ends).map((fault): Case => {
    // Nothing had been started: that is the end of a process, without an upgrade. An exception is not noticed that soon.
    const alone = step === "before the spawn" && fault !== "throw"
    return {
      name: `parent: ${fault}, ${step}`,
      plan: { 1: { step, fault } },
      outcome: [alone ? "nobody" : "child"],
      // Before the names are written there is nothing that the child could listen on.
      loses: alone || step === "after the spawn" || step === "before the spawn" ? nobodyElse : cut
    }
  })
)

const parentStops = everyParentStep.flatMap((step): ReadonlyArray<Case> =>
  [1_000, patience + 2_000].map((time): Case => ({
    name: `parent: stop, ${step}, continued after ${time / 1000} s`,
    plan: { 1: { step, fault: "stop" } },
    upgrader: { upgradeTimeout: patience },
    disturb: (running) => Effect.flatMap(stoppedPid(running), (pid) => Effect.delay(continued(pid), time)),
    // Whoever looks at the clock first after a long sleep finds that time is up.
    outcome: time < patience ? ["child"] : ["child", "parent"],
    // A child that has not got the names by then has given up.
    error: step === "after the spawn"
      ? /^(UpgradeTimeoutError|ChildExitedError .*code 1 before)/
      : /^UpgradeTimeoutError/
  }))
)

const parentBreaks: ReadonlyArray<Case> = [
  {
    name: "parent: close its end of the ready stream, started",
    plan: { 1: { step: "started", fault: "close parent's end of ready" } },
    outcome: ["parent"],
    error: /^ProtocolError .*the ready stream ended without a word/
  },
  {
    name: "parent: close its end of the names stream, started",
    plan: { 1: { step: "started", fault: "close parent's end of names" } },
    cutsLifeline: true,
    outcome: ["child"]
  },
  {
    name: "parent: garbage on the names stream, after the spawn",
    plan: { 1: { step: "after the spawn", fault: "garbage on names" } },
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/
  },
  {
    name: "parent: garbage on the names stream, started",
    plan: { 1: { step: "started", fault: "garbage on names" } },
    outcome: ["child"]
  },
  ...(["before the spawn", "started", "handed over"] as const).flatMap((step) =>
    (["clock forward", "clock back"] as const).map((fault): Case => ({
      name: `parent: ${fault} a day, ${step}`,
      plan: { 1: { step, fault } },
      outcome: ["child"]
    }))
  ),
  {
    // The new process gets the environment of the start, whatever has become of it since.
    name: "parent: huge environment",
    plan: { 1: { step: "up", fault: "huge environment" } },
    outcome: ["child"]
  },
  {
    name: "parent: bad environment",
    plan: { 1: { step: "up", fault: "bad environment" } },
    outcome: ["child"]
  },
  {
    name: "parent: no environment",
    plan: { 1: { step: "up", fault: "no environment" } },
    outcome: ["child"]
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// Signals from outside
// ---------------------------------------------------------------------------------------------------------------------

const send = (...names: ReadonlyArray<NodeJS.Signals>) => ({ up }: Running) =>
  Effect.sync(() => {
    for (const name of names) process.kill(up.pid, name)
  })

const storm = Array.from({ length: 50 }, () => "SIGHUP" as const)

const stops = ["child", "nobody"] satisfies ReadonlyArray<Outcome>

const storms: ReadonlyArray<Case> = [
  { name: "signals: 50 HUP in one tick", ask: send(...storm), outcome: ["child"] },
  {
    name: "signals: 50 HUP within 10 ms",
    ask: ({ up }) =>
      Effect.forEach(storm, (name) => Effect.delay(signal(up.pid, name), "200 micros"), { discard: true }),
    outcome: ["child"]
  },
  {
    name: "signals: 50 HUP while the new process starts",
    disturb: ({ app, up }) =>
      Effect.zipRight(
        app.waitFor(/^SPAWNED \d+ 2/),
        Effect.forEach(storm, (name) => isAlive(up.pid) ? signal(up.pid, name) : Effect.void, { discard: true })
      ),
    outcome: ["child"]
  },
  { name: "signals: HUP and TERM in one tick", ask: send("SIGHUP", "SIGTERM"), outcome: stops, loses: nobodyElse },
  { name: "signals: TERM and HUP in one tick", ask: send("SIGTERM", "SIGHUP"), outcome: stops, loses: nobodyElse },
  {
    name: "signals: HUP, INT and TERM in one tick",
    ask: send("SIGHUP", "SIGINT", "SIGTERM"),
    outcome: stops,
    loses: nobodyElse
  },
  {
    name: "signals: HUP to a new process that has not started yet",
    disturb: ({ app }) => Effect.flatMap(app.waitFor(/^SPAWNED (\d+) 2/), ([, pid]) => signal(Number(pid), "SIGHUP")),
    outcome: ["parent", "child"],
    error: /^ChildExitedError .*was killed by SIGHUP before/
  },
  {
    name: "signals: TERM to a new process that is about to be ready",
    disturb: ({ app }) =>
      Effect.flatMap(app.waitFor(/^FAULT (\d+) bound/), ([, pid]) => signal(Number(pid), "SIGTERM")),
    plan: { 2: { step: "bound", fault: "wait", wait: 300 } },
    // It may be ready before it hears that it should stop.
    outcome: ["parent", "nobody"],
    error: /^ChildExitedError .*exited with code 0/,
    loses: nobodyElse
  },
  {
    name: "signals: KILL to both at once",
    disturb: ({ app, up }) =>
      Effect.flatMap(app.waitFor(/^SPAWNED (\d+) 2/), ([, pid]) =>
        Effect.sync(() => {
          for (const one of [up.pid, Number(pid)]) process.kill(one, "SIGKILL")
        })),
    outcome: ["nobody"],
    loses: nobodyElse
  }
]

/** A program that is gone, or another one, is noticed by the new process and by nobody else. */
const programs: ReadonlyArray<Case> = [
  {
    name: "program: removed",
    prepare: ({ program }) => Effect.sync(() => fs.unlinkSync(program)),
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/
  },
  {
    name: "program: empty",
    prepare: ({ program }) => Effect.sync(() => fs.writeFileSync(program, "")),
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 0 before/
  },
  {
    name: "program: a directory",
    prepare: ({ program }) =>
      Effect.sync(() => {
        fs.unlinkSync(program)
        fs.mkdirSync(program)
      }),
    repair: ({ program }) => Effect.sync(() => fs.rmdirSync(program)),
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/
  },
  {
    name: "program: its working directory removed",
    launch: (dir) => {
      fs.mkdirSync(path.join(dir, "cwd"))
      return { cwd: path.join(dir, "cwd") }
    },
    prepare: ({ dir }) => Effect.sync(() => fs.rmdirSync(path.join(dir, "cwd"))),
    repair: ({ dir }) => Effect.sync(() => fs.mkdirSync(path.join(dir, "cwd"))),
    outcome: ["parent"],
    error: /^SpawnError .*the directory to start in, .*, cannot be used any more/
  }
]

export const cases: ReadonlyArray<Case> = [
  ...childEnds,
  ...childEndsUnwatched,
  ...childStops,
  ...childBreaks,
  ...parentEnds,
  ...parentStops,
  ...parentBreaks,
  ...storms,
  ...programs,
  ...environmentCases
]
