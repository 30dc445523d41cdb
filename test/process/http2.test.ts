/**
 * What HTTP/2 can do to a whole process.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { certificate } from "../kit/certificate.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { start } from "../kit/processes.ts"

describe.runIf(isLinux)("requests that arrive while the GOAWAY is being written", () => {
  for (const [how, behaviour] of [["in clear", {}], ["over TLS", { certificate }]] as const) {
    it.scopedLive(`do not corrupt the process, ${how}`, () =>
      Effect.gen(function*() {
        const rounds = 60
        const program = yield* start(fixture("goaway.mjs"), {
          app: { rounds, ...behaviour },
          // mallopt(3): memory that was freed holds nonsense, so that whoever uses it shows at once.
          env: { MALLOC_PERTURB_: "165" }
        })
        yield* program.waitFor(/^DONE/, "60 seconds")
        assert.strictEqual(program.count(new RegExp(`^DONE ${rounds}$`)), 1, program.dump())
        assert.deepStrictEqual(yield* program.exit, { code: 0, signal: null })
      }))
  }
})
