/** What can go wrong with any service of several processes while nothing is going on, and signals to all of it. */
import * as Effect from "effect/Effect"
import type { CrewCase, CrewOutcome, CrewRunning, Kind } from "./crew.ts"
import { cut, end, freeze, nobodyElse } from "./disturbances.ts"

const toLead = (...names: ReadonlyArray<NodeJS.Signals>) => ({ first }: CrewRunning) =>
  Effect.sync(() => {
    for (const name of names) process.kill(first.lead, name)
  })

const toGroup = (name: NodeJS.Signals) => ({ first }: CrewRunning) =>
  Effect.sync(() => {
    process.kill(-first.lead, name)
  })

const storm = Array.from({ length: 50 }, () => "SIGHUP" as const)

export const shared = (
  kind: Kind,
  { afterHupAndTerm, lead, members, service }: {
    /** How the three are called. */
    readonly service: string
    readonly lead: string
    readonly members: string
    readonly afterHupAndTerm: ReadonlyArray<CrewOutcome>
  }
): ReadonlyArray<CrewCase> => [
  {
    kind,
    name: `${service}: at rest: ${members} killed`,
    isAtRest: true,
    disturb: ({ first }) => Effect.forEach(first.members, (pid) => end(pid, "SIGKILL"), { discard: true }),
    outcome: ["old"],
    isRestarted: true,
    loses: cut
  },
  {
    kind,
    name: `${service}: at rest: ${members} stopped for 2 s`,
    isAtRest: true,
    disturb: ({ first }) => freeze(first.members, 2_000),
    outcome: ["old"]
  },
  {
    kind,
    name: `${service}: at rest: ${lead} stopped for 2 s`,
    isAtRest: true,
    disturb: ({ first }) => freeze([first.lead], 2_000),
    outcome: ["old"]
  },
  { kind, name: `${service}: 50 HUP in one tick`, ask: toLead(...storm), outcome: ["new"] },
  { kind, name: `${service}: HUP to the whole group`, ask: toGroup("SIGHUP"), outcome: ["new"] },
  {
    kind,
    name: `${service}: HUP and TERM in one tick`,
    ask: toLead("SIGHUP", "SIGTERM"),
    outcome: afterHupAndTerm,
    loses: nobodyElse
  },
  {
    kind,
    name: `${service}: TERM to the whole group`,
    ask: toGroup("SIGTERM"),
    outcome: ["nobody"],
    loses: nobodyElse
  }
]
