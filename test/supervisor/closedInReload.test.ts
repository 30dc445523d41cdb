/**
 * A supervisor whose scope is closed while a reload is going on.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import { TestEnv } from "../../src/Testing.ts"

const turns = (times: number) => Effect.repeat(Effect.yieldNow(), { times })

it.scoped.each([1, 3, 5, 6, 7, 9, 12, 15, 16, 17, 18, 40])(
  "a supervisor closed %i turns after the new one is ready leaves nothing",
  (n) =>
    Effect.gen(function*() {
      const env = yield* TestEnv
      const scope = yield* Scope.make()
      const supervisor = yield* Supervisor.make({ command: { name: "app" }, ready: { when: Readiness.Wire } }).pipe(
        Scope.extend(scope)
      )
      yield* Effect.fork(supervisor.start)
      yield* (yield* env.nextChild).notifyReady
      yield* turns(100)
      yield* Effect.fork(Effect.exit(supervisor.reload))
      const second = yield* env.nextChild
      yield* turns(100)
      yield* second.notifyReady
      yield* turns(n)
      yield* Scope.close(scope, Exit.void)
      yield* turns(100)
      assert.strictEqual(yield* env.processes, 1)
    }).pipe(Effect.provide(TestEnv.layer))
)
