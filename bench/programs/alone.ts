import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as Upgrader from "../../src/Upgrader.ts"

/** Says `ALONE <pid>` when every older generation has ended. */
export const sayAlone = Layer.scopedDiscard(
  Effect.gen(function*() {
    const upgrader = yield* Upgrader.Upgrader
    yield* Effect.forkScoped(
      Effect.zipRight(upgrader.waitForParent, Effect.sync(() => fs.writeSync(1, `ALONE ${process.pid}\n`)))
    )
  })
)
