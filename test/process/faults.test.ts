/**
 * The short form of `npm run faults`: a few cases of each kind and a few runs drawn by lot, through the same code.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Case } from "../../scripts/faults/case.ts"
import { cases } from "../../scripts/faults/cases.ts"
import { randomCase } from "../../scripts/faults/random.ts"
import { run } from "../../scripts/faults/run.ts"
import { isLinux } from "./harness.ts"

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
  "system: no processes left"
]

const named = (name: string): Case => {
  const found = cases.find((one) => one.name === name)
  if (found === undefined) throw new Error(`there is no case ${name}`)
  return found
}

const drawn = [1, 2, 3, 4, 5, 6].map((index) => randomCase(1, index))

describe.runIf(isLinux)("a fault", () => {
  for (const one of [...names.map(named), ...drawn]) {
    const { drawn = "", name, skipped } = one
    const reason = skipped?.()
    it.live.skipIf(reason !== undefined)(`${name} ${drawn || reason || ""}`.trim(), () =>
      Effect.gen(function*() {
        const { problems, said } = yield* run(one)
        assert.deepStrictEqual(problems, [], said)
      }))
  }
})
