/** Runs drawn by lot. The seed and the number of a run say all about it, so that any run can be repeated. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { isAlive } from "../../test/kit/proc.ts"
import type { Handle } from "../../test/kit/processes.ts"
import { signal } from "../../test/kit/processes.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Case, Outcome, Plan, Running } from "./case.ts"
import { parentSteps } from "./case.ts"
import { cases } from "./cases.ts"
import * as crew from "./crew.ts"
import { randomCrewCase } from "./crewRandom.ts"
import { nobodyElse } from "./disturbances.ts"
import type { Draw } from "./draw.ts"
import { generator, pick, whole } from "./draw.ts"
import { trialOf } from "./run.ts"
import type { Trial } from "./trial.ts"

const childSteps = [
  "first line",
  "bound",
  "before the PID file",
  "before the ready byte",
  "after the ready byte",
  "up",
  "alone"
]

/** Slows a side down at a step, so that what comes from outside finds it there. */
const delays = (draw: Draw): Plan => ({
  ...draw() < 0.5 ? {} : { 1: { step: pick(draw, parentSteps), fault: "wait", wait: whole(draw, 400) } },
  ...draw() < 0.5 ? {} : { 2: { step: pick(draw, childSteps), fault: "wait", wait: whole(draw, 400) } }
})

// ---------------------------------------------------------------------------------------------------------------------
// A signal at any moment
// ---------------------------------------------------------------------------------------------------------------------

const signals = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP"] as const

const wasStarted = (app: Handle) => app.count(/^SPAWNED \d+ 2/) > 0

const tookOver = (app: Handle) => app.count(/has taken over as generation 2/) > 0

type Victim = "parent" | "child"

const expected = (victim: Victim, name: typeof signals[number]) => (app: Handle): ReadonlyArray<Outcome> => {
  if (name === "SIGSTOP") return ["child"]
  if (victim === "parent") {
    if (name === "SIGKILL") return wasStarted(app) ? ["child"] : ["nobody"]
    return name === "SIGHUP" ? ["child"] : ["child", "nobody"]
  }
  if (name === "SIGHUP") return tookOver(app) ? ["child"] : ["child", "parent"]
  return tookOver(app) ? ["nobody"] : ["parent"]
}

const pidOf = (victim: Victim, { app, up }: Running): Effect.Effect<number> =>
  victim === "parent"
    ? Effect.succeed(up.pid)
    : Effect.map(app.waitFor(/Started process (\d+)|^SPAWNED (\d+) 2/), ([, one, other]) => Number(one ?? other))

const strike = (victim: Victim, name: typeof signals[number], delay: number, pause: number) => (running: Running) =>
  Effect.gen(function*() {
    yield* Effect.sleep(delay * running.startTime)
    const pid = yield* pidOf(victim, running)
    if (!isAlive(pid)) return
    const before = replies(running.app, pid)
    yield* signal(pid, name)
    if (name === "SIGSTOP") {
      yield* Effect.sleep(pause)
      yield* signal(pid, "SIGCONT")
    } else if (name === "SIGHUP") {
      // Two that come before one is taken are one.
      yield* Effect.ignore(
        Effect.timeout(heard(() => !isAlive(pid) || replies(running.app, pid) > before), "2 seconds")
      )
    } else {
      yield* eventually(`process ${pid} to end`, () => !isAlive(pid), { within: "40 seconds", seen: running.app.dump })
    }
  })

const replies = (app: Handle, pid: number) =>
  app.count(new RegExp(`^(LOG ${pid} ERROR No upgrade|EVENT ${pid} UpgradeStarted)`))

const heard = (look: () => boolean) =>
  Effect.repeat(Effect.sync(look), { until: (is) => is, schedule: Schedule.spaced(5) })

const anySignal = (draw: Draw, index: number): Case => {
  const victim = pick(draw, ["parent", "child"] as const)
  const name = pick(draw, signals)
  // In start-up times, so that a run is the same on a faster machine.
  const delay = whole(draw, 220) / 100
  const pause = 200 + whole(draw, 800)
  const probation = pick(draw, [0, 0, 300])
  const plan = delays(draw)
  return {
    name: `random: ${name} to the ${victim} at any moment`,
    drawn: `#${index}: after ${delay} start-up times, probation ${probation} ms, ${JSON.stringify(plan)}`,
    plan,
    upgrader: { probation },
    disturb: strike(victim, name, delay, pause),
    outcome: expected(victim, name),
    error: /^ChildExitedError .*(was killed by SIG|exited with code [01])/,
    ...name === "SIGKILL" || name === "SIGTERM" || name === "SIGINT"
      ? { loses: nobodyElse }
      : {},
    leavesTemporary: true,
    isOptional: true
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// A case of the matrix, with the other side slowed down
// ---------------------------------------------------------------------------------------------------------------------

const combinable = cases.filter(({ name, skipped, upgrader }) =>
  skipped === undefined && !/stop|TERM|new process|both at once/.test(name) && upgrader === undefined
)

const slowedDown = (draw: Draw, index: number): Case => {
  const base = pick(draw, combinable)
  const plan = { ...delays(draw), ...base.plan }
  return {
    ...base,
    name: "random: a case of the matrix, slowed down",
    drawn: `#${index}: ${base.name}, ${JSON.stringify(plan)}`,
    plan,
    leavesTemporary: true,
    isOptional: true
  }
}

export const randomTrial = (seed: number, index: number): Trial => {
  const draw = generator(Math.imul(seed, 0x9e3779b1) + index)
  const kind = draw()
  if (kind < 0.45) return trialOf(anySignal(draw, index))
  if (kind < 0.7) return trialOf(slowedDown(draw, index))
  return crew.trialOf(randomCrewCase(draw, index))
}
