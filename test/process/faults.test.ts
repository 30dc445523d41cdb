/**
 * The short form of `npm run faults`: a few cases of each kind and a few runs drawn by lot, through the same code.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { trials } from "../../scripts/faults/all.ts"
import { randomTrial } from "../../scripts/faults/random.ts"
import type { Trial } from "../../scripts/faults/trial.ts"
import { isLinux } from "../kit/proc.ts"

const names = [
  "child: kill, before the ready byte",
  "child: throw, up",
  "child: garbage on the ready stream, bound",
  "child: close listener and end slowly, first line",
  "parent: kill, after the spawn",
  "parent: kill, ready byte read",
  "parent: throw, draining",
  "parent: stop, started, continued after 1 s",
  "parent: clock forward a day, started",
  "parent: huge environment",
  "signals: 50 HUP while the new process starts",
  "signals: HUP and TERM in one tick",
  "program: its working directory removed",
  "system: no room for the PID file",
  "system: no descriptors left in the parent",
  "system: no processes left",
  "pool: new primary: kill, before the ready byte",
  "pool: worker of the new primary: stop, bound",
  "pool: old primary: kill, handed over",
  "pool: replacement: exit1, bound",
  "pool: at rest: all workers killed",
  "supervisor: new generation: kill, bound",
  "supervisor: new generation: exit1, after the ready byte",
  "supervisor: tableflip is stopped for 2 s during a reload",
  "supervisor: at rest: the command killed",
  "connections: the old process is killed, has said Passing",
  "connections: the new process is killed, receives",
  "connections: the new process is killed, has said Taken",
  "connections: a roll of a pool: an old worker is killed, says Passing",
  "connections: a pool that becomes smaller: the worker that stays is killed, receives",
  "connections: an upgrade of a pool: the old primary is killed, hears Passing",
  "connections: two copies of a command under tableflip: tableflip is killed, says Taken",
  "connections: a pool under tableflip: a new worker is killed, has said Taken"
]

const named = (name: string): Trial => {
  const found = trials.find((one) => one.name === name)
  if (found === undefined) throw new Error(`there is no case ${name}`)
  return found
}

const drawn = [1, 2, 3, 4, 5, 6].map((index) => randomTrial(1, index))

describe.runIf(isLinux)("a fault", () => {
  for (const one of [...names.map(named), ...drawn]) {
    const { drawn = "", name, run, skipped } = one
    const reason = skipped?.()
    it.live.skipIf(reason !== undefined)(`${name} ${drawn || reason || ""}`.trim(), () =>
      Effect.gen(function*() {
        const { problems, said } = yield* run
        assert.deepStrictEqual(problems, [], said)
      }))
  }
})
