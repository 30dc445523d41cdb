/**
 * What is remembered of a process to tell its status: since when it is in its state, and how the last upgrade went.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { timeJson } from "./json.ts"
import type { Identity, LastUpgrade, State, Status } from "./protocol.ts"
import * as protocol from "./protocol.ts"

type Now = Omit<Status, "protocol" | "since" | "startedAt" | "node" | "lastUpgrade">

/** No event tells that the command of a supervisor serves: a process is ready some time before it is put in its place. */
const changedAt = ({ kind, processes = [], state }: Now): number | undefined =>
  kind === "supervisor" && state === "serving" && processes.length > 0
    ? Math.max(...processes.map(({ since }) => Date.parse(since)))
    : undefined

export interface Record {
  /** Notes the state of now. */
  readonly look: Effect.Effect<void>
  readonly upgraded: (to: Identity) => Effect.Effect<void>
  readonly failed: (last: Pick<LastUpgrade, "generation" | "pid">, error: protocol.ErrorJson) => Effect.Effect<void>
  readonly status: Effect.Effect<Status>
}

export const make = (now: Effect.Effect<Now>): Effect.Effect<Record> =>
  Effect.map(Clock.currentTimeMillis, (madeAt) => {
    let state: State = "starting"
    let since = madeAt
    let last: LastUpgrade | null = null

    const noted = (dated: (seen: Now) => number | undefined) =>
      Effect.zipWith(now, Clock.currentTimeMillis, (seen, millis) => {
        if (seen.state !== state) since = dated(seen) ?? millis
        state = seen.state
        return seen
      })
    const note = (upgrade: (at: string) => LastUpgrade) =>
      Effect.map(Clock.currentTimeMillis, (millis) => {
        last = upgrade(timeJson(millis))
      })

    return {
      look: Effect.asVoid(noted(() => undefined)),
      upgraded: ({ generation, pid }) => note((at) => ({ outcome: "upgraded", at, generation, pid })),
      failed: (upgrade, error) => note((at) => ({ outcome: "failed", at, ...upgrade, error })),
      status: Effect.map(noted(changedAt), (seen): Status => ({
        protocol: protocol.version,
        ...seen,
        since: timeJson(since),
        startedAt: timeJson(performance.timeOrigin),
        lastUpgrade: last,
        node: process.version
      }))
    }
  })
