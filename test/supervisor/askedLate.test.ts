/**
 * A supervisor that is asked for something when its scope is closed, or about to be.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { forkApart } from "../../src/internal/seam.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import { TestEnv } from "../../src/Testing.ts"

it.scoped.each(["after", "while"])(
  "a stop and a reload %s the scope of a supervisor is closed come to an end",
  (when) =>
    Effect.gen(function*() {
      const env = yield* TestEnv
      const scope = yield* Scope.make()
      const supervisor = yield* Supervisor.make({ command: { name: "app" }, ready: { when: Readiness.Wire } }).pipe(
        Scope.extend(scope)
      )
      const start = yield* Effect.fork(supervisor.start)
      yield* (yield* env.nextChild).notifyReady
      yield* Fiber.join(start)
      const close = yield* Effect.fork(Scope.close(scope, Exit.void))
      if (when === "after") yield* Fiber.join(close)
      const reload = yield* forkApart(Effect.flip(supervisor.reload))
      const stop = yield* forkApart(supervisor.stop())
      yield* Fiber.join(close)
      yield* Effect.repeat(TestClock.adjust("1 second"), { times: 60 })
      assert.isTrue(Option.isSome(yield* Fiber.poll(stop)), "stop")
      assert.isTrue(Option.isSome(yield* Fiber.poll(reload)), "reload")
      assert.strictEqual((yield* Fiber.join(reload))._tag, "TerminatingError")
      assert.strictEqual(yield* env.processes, 1)
    }).pipe(Effect.provide(TestEnv.layer))
)
