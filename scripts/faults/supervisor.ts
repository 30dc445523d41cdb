/** A program under the command tableflip, and what can go wrong with both. */
import * as Effect from "effect/Effect"
import { isAlive } from "../../test/kit/proc.ts"
import { signal } from "../../test/kit/processes.ts"
import { run } from "../../test/kit/tableflip.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { CrewCase, Kind } from "./crew.ts"
import { shared } from "./crewShared.ts"
import { cut, freeze, nobodyElse } from "./disturbances.ts"

const kind: Kind = {
  size: 1,
  start: ({ options, pidFile, port, program }) =>
    run({
      options: ["--listen", `127.0.0.1:${port}`, "--pid-file", pidFile, ...Object.values(options).flat()],
      command: [process.execPath, program],
      env: { PLAN: `${program}.plan` },
      detached: true,
      app: { listen: [{ host: "127.0.0.1", port }] }
    }),
  leads: (app) => [app.pid],
  hasComeUp: (app, pid) => app.count(new RegExp(`^UP ${pid} `)) > 0,
  hasReplaced: (app) => app.count(/generation \d+ has taken over/) > 0,
  failures: (app) => app.lines().flatMap((line) => / The reload has failed\. (.*)/.exec(line)?.[1] ?? []),
  logged: (app) => app.count(/ ERROR tableflip: /)
}

export const supervisorKind = kind

const ends = {
  kill: "was killed by SIGKILL",
  exit0: "exited with code 0",
  exit1: "exited with code 1",
  throw: "exited with code 1"
}

const newCommand = (["first line", "bound", "before the ready byte"] as const).flatMap((step) =>
  Object.entries(ends).map(([fault, how]): CrewCase => {
    // What is thrown is thrown when this turn of the event loop is over, in which the program becomes ready.
    const mayBeReady = fault === "throw" && step !== "first line"
    return {
      kind,
      name: `supervisor: new generation: ${fault}, ${step}`,
      plan: { 2: { step, fault } },
      outcome: mayBeReady ? ["old", "new"] : ["old"],
      error: new RegExp(`${how} before it was ready`),
      ...mayBeReady ? { loses: cut } : {}
    }
  })
)

const newCommandReady = (["after the ready byte", "up"] as const).flatMap((step) =>
  ["kill", "exit1", "throw"].map((fault): CrewCase => ({
    kind,
    name: `supervisor: new generation: ${fault}, ${step}`,
    plan: { 2: { step, fault } },
    // It was ready, so the old one is told to stop; what crashes after that is started again.
    outcome: ["new"],
    loses: cut
  }))
)

const newCommandStopped = (["first line", "bound", "before the ready byte"] as const).map((step): CrewCase => ({
  kind,
  name: `supervisor: new generation: stop, ${step}`,
  plan: { 2: { step, fault: "stop" } },
  options: { timeout: ["--ready-timeout", "4", "--stop-timeout", "1"] },
  outcome: ["old"],
  error: /not ready within 4s/
}))

const newCommandBroken = (["close ready", "garbage on ready"] as const).map((fault): CrewCase => ({
  kind,
  name: `supervisor: new generation: ${fault}, bound`,
  plan: { 2: { step: "bound", fault } },
  outcome: ["old"],
  error: /./
}))

const oldCommand = (["draining", "released", "exiting"] as const).flatMap((step) =>
  ["kill", "exit1", "throw"].map((fault): CrewCase => ({
    kind,
    name: `supervisor: old generation: ${fault}, ${step}`,
    plan: { 1: { step, fault } },
    outcome: ["new"],
    loses: cut
  }))
)

const others: ReadonlyArray<CrewCase> = [
  {
    kind,
    name: "supervisor: the old generation is killed during a reload",
    disturb: ({ app, first }) => Effect.zipRight(app.waitFor(/^SPAWNED \d+ 2/), signal(first.members[0]!, "SIGKILL")),
    outcome: ["new"],
    loses: cut
  },
  {
    kind,
    name: "supervisor: both generations are killed during a reload",
    disturb: ({ app, first }) =>
      Effect.flatMap(app.waitFor(/^SPAWNED (\d+) 2/), ([, pid]) =>
        Effect.sync(() => {
          for (const one of [first.members[0]!, Number(pid)]) process.kill(one, "SIGKILL")
        })),
    outcome: ["old", "new"],
    error: /was killed by SIGKILL/,
    isRestarted: true,
    loses: cut
  },
  {
    kind,
    name: "supervisor: tableflip is stopped for 2 s during a reload",
    disturb: ({ app, first }) => Effect.zipRight(app.waitFor(/^SPAWNED \d+ 2/), freeze([first.lead], 2_000)),
    outcome: ["new"]
  },
  ...[true, false].map((isAtRest): CrewCase => ({
    kind,
    name: `supervisor: tableflip is killed${isAtRest ? "" : " during a reload"}`,
    isAtRest,
    disturb: ({ app, first }) =>
      (isAtRest ? Effect.void : Effect.asVoid(app.waitFor(/^SPAWNED \d+ 2/))).pipe(
        Effect.zipRight(signal(first.lead, "SIGKILL")),
        Effect.zipRight(eventually("the command to end", () => !first.members.some(isAlive), { seen: app.dump }))
      ),
    outcome: ["nobody"],
    loses: nobodyElse
  })),
  ...shared(kind, { service: "supervisor", lead: "tableflip", members: "the command", afterHupAndTerm: ["nobody"] })
]

export const supervisorCases: ReadonlyArray<CrewCase> = [
  ...newCommand,
  ...newCommandReady,
  ...newCommandStopped,
  ...newCommandBroken,
  ...oldCommand,
  ...others
]
