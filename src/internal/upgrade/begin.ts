/**
 * The beginning of every process: its options, its place as the only upgrader, and what the older process has left for it.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { BuildError } from "../../TableflipError.ts"
import { NotSupportedError, UpgraderExistsError } from "../../TableflipError.ts"
import type { Options } from "../../Upgrader.ts"
import { fromResult } from "../seam.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import type { Ancestry } from "./ancestry.ts"
import * as parent from "./ancestry.ts"
import type { Settings } from "./options.ts"
import * as upgraderOptions from "./options.ts"

const claim = Effect.fnUntraced(function*(env: System, settings: Settings) {
  const now = new Date(yield* Effect.clockWith((clock) => clock.currentTimeMillis)).toISOString()
  const pidFile = settings.pidFile === undefined ? "without a PID file" : `with the PID file ${settings.pidFile}`
  const first = yield* env.claim(`at ${now} ${pidFile}`)
  if (Option.isSome(first)) return yield* new UpgraderExistsError({ first: first.value })
})

/** A process that knows where it comes from, and not yet what it is to be. */
export interface Begun {
  readonly env: System
  readonly settings: Settings
  readonly ancestry: Ancestry
}

/** Takes what the older process has left. Nothing else of this library can do so any more. */
export const begin: (options: Options) => Effect.Effect<Begun, BuildError, Env | Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const env = yield* Env
    const settings = yield* fromResult(upgraderOptions.decode(options))
    if (Option.isSome(env.unsupported)) {
      return yield* new NotSupportedError({ reason: `${env.unsupported.value}. Upgrader.layerStub runs without them` })
    }
    yield* claim(env, settings)
    yield* env.holdStopSignals
    return { env, settings, ancestry: yield* parent.receive(env) }
  }
)
