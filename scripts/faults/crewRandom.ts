/** A signal at any moment of an upgrade, a roll or a reload, to any of the processes. */
import * as Effect from "effect/Effect"
import { isAlive } from "../../test/kit/proc.ts"
import { signal } from "../../test/kit/processes.ts"
import type { Plan } from "./case.ts"
import type { CrewCase, CrewOutcome, CrewRunning } from "./crew.ts"
import { end, freeze, nobodyElse } from "./disturbances.ts"
import type { Draw } from "./draw.ts"
import { pick, whole } from "./draw.ts"
import { poolKind, replace } from "./pool.ts"
import { supervisorKind } from "./supervisor.ts"

const signals = ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP"] as const

type Scene = "upgrade of a pool" | "roll of a pool" | "reload under tableflip"

type Victim = "lead" | "member" | "new lead" | "new member"

const victims: Readonly<Record<Scene, ReadonlyArray<Victim>>> = {
  "upgrade of a pool": ["lead", "member", "new lead", "new member"],
  "roll of a pool": ["lead", "member", "new member"],
  "reload under tableflip": ["lead", "member", "new member"]
}

const started: Readonly<Record<Scene, Partial<Record<Victim, RegExp>>>> = {
  "upgrade of a pool": { "new lead": /^SPAWNED (\d+) 2/, "new member": /^SPAWNED (\d+) worker 2/ },
  "roll of a pool": { "new member": /^SPAWNED (\d+) worker 2/ },
  "reload under tableflip": { "new member": /^SPAWNED (\d+) 2/ }
}

const pidOf = (scene: Scene, victim: Victim, { app, first }: CrewRunning): Effect.Effect<number> => {
  const line = started[scene][victim]
  if (line !== undefined) return Effect.map(app.waitFor(line), ([, pid]) => Number(pid))
  return Effect.succeed(victim === "lead" ? first.lead : first.members[0]!)
}

const steps = ["first line", "bound", "before the PID file", "before the ready byte", "after the ready byte", "up"]

const delays = (draw: Draw): Plan => ({
  ...draw() < 0.6 ? {} : { 2: { step: pick(draw, steps), fault: "wait", wait: whole(draw, 400) } },
  ...draw() < 0.6 ? {} : { "worker 2": { step: pick(draw, steps), fault: "wait", wait: whole(draw, 400) } }
})

const everyOutcome: ReadonlyArray<CrewOutcome> = ["old", "new", "nobody"]

const outcomes = (scene: Scene, victim: Victim, name: typeof signals[number]): ReadonlyArray<CrewOutcome> => {
  if (name === "SIGSTOP") return ["new"]
  if (name === "SIGHUP") return victim === "new lead" || victim === "new member" ? ["old", "new"] : ["new"]
  // A new one that has taken over by then is the only one.
  if (victim === "new lead") return everyOutcome
  // A command that ends as it should, as it does on these, is not started again.
  if (scene === "reload under tableflip" && name !== "SIGKILL" && victim !== "lead") return everyOutcome
  if (victim !== "lead") return ["old", "new"]
  return scene === "upgrade of a pool" ? ["new", "nobody"] : ["nobody"]
}

const strike = (scene: Scene, victim: Victim, name: typeof signals[number], delay: number, pause: number) =>
(
  running: CrewRunning
) =>
  Effect.gen(function*() {
    yield* Effect.sleep(delay * running.startTime)
    const pid = yield* pidOf(scene, victim, running)
    if (!isAlive(pid)) return
    if (name === "SIGSTOP") return yield* freeze([pid], pause)
    yield* name === "SIGHUP" ? signal(pid, name) : end(pid, name)
  })

const isFatal = (name: string) => name === "SIGKILL" || name === "SIGTERM" || name === "SIGINT"

export const randomCrewCase = (draw: Draw, index: number): CrewCase => {
  const scene = pick(draw, ["upgrade of a pool", "roll of a pool", "reload under tableflip"] as const)
  const victim = pick(draw, victims[scene])
  const name = pick(draw, signals)
  // In start-up times, so that a run is the same on a faster machine.
  const delay = whole(draw, 150) / 100
  const pause = 200 + whole(draw, 800)
  const plan = delays(draw)
  return {
    kind: scene === "reload under tableflip" ? supervisorKind : poolKind,
    name: `random: ${name} to the ${victim} at any moment of the ${scene}`,
    drawn: `#${index}: after ${delay} start-up times, ${JSON.stringify(plan)}`,
    plan,
    ...scene === "roll of a pool" ? { ask: replace } : {},
    disturb: strike(scene, victim, name, delay, pause),
    outcome: outcomes(scene, victim, name),
    error: /was killed by SIG|exited with code (0|1|1\d\d)\b|^ReplaceError/,
    ...isFatal(name) ? { loses: nobodyElse, isRestarted: true, leavesTemporary: true } : {},
    isOptional: true
  }
}
