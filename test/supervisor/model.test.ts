/**
 * Random interleavings of everything that can happen to a supervisor. What is asserted is what matters most: every call
 * ends, in what is promised, and no process is left.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { forkApart } from "../../src/internal/seam.ts"
import * as Readiness from "../../src/Readiness.ts"
import * as Supervisor from "../../src/Supervisor.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import { effectProperty } from "../kit/property.ts"

const steps = [
  "start",
  "reload",
  "stop",
  "hasten",
  "signal",
  "exit",
  "childReady",
  "childExits",
  "childFails",
  "childKilled",
  "childCloses",
  "childHangs",
  "time",
  "turn"
] as const
type Step = typeof steps[number]

const turns = (times: number) => Effect.repeat(Effect.yieldNow(), { times })

const allowed: Record<"start" | "reload", ReadonlyArray<string>> = {
  start: ["ProcessStartError", "RestartsExhaustedError", "TerminatingError"],
  reload: ["NotReadyError", "ReplaceError", "TerminatingError"]
}

interface Setting {
  readonly policy: "always" | "on-failure" | "never"
  readonly workers: number
  readonly leaveRunning: boolean
  readonly stopFirst: boolean
}

const settings: FastCheck.Arbitrary<Setting> = FastCheck.record({
  policy: FastCheck.constantFrom("always", "on-failure", "never"),
  workers: FastCheck.integer({ min: 1, max: 3 }),
  leaveRunning: FastCheck.boolean(),
  stopFirst: FastCheck.boolean()
})

const run = Effect.fnUntraced(
  function*(sequence: ReadonlyArray<Step>, { leaveRunning, policy, stopFirst, workers }: Setting) {
    const scope = yield* Scope.make()
    const machine = yield* TestEnv
    const supervisor = yield* Supervisor.make({
      command: { name: "app" },
      ready: { when: Readiness.Wire, timeout: "5 seconds" },
      stop: { timeout: "2 seconds" },
      restart: { policy, limit: { count: 3, within: "10 seconds" } },
      workers,
      replace: { stopFirst: stopFirst && !leaveRunning },
      leaveRunning
    }).pipe(Scope.extend(scope))
    const children: Array<FakeProcess> = []
    yield* machine.nextChild.pipe(
      Effect.tap((child) => Effect.sync(() => children.push(child))),
      Effect.forever,
      Effect.fork
    )
    type Outcome = Either.Either<unknown, { readonly _tag: string }>
    const asked: Array<readonly [Step, Fiber.RuntimeFiber<Outcome>]> = []
    const ask = (step: Step, call: Effect.Effect<unknown, { readonly _tag: string }>) =>
      Effect.map(forkApart(Effect.either(call)), (fiber) => asked.push([step, fiber]))
    const onChild = (act: (child: FakeProcess) => Effect.Effect<unknown, unknown>) =>
      Option.match(Option.fromNullable(children.at(-1)), {
        onNone: () => Effect.void,
        onSome: (child) => Effect.ignore(act(child))
      })
    const take: Record<Step, Effect.Effect<unknown>> = {
      start: ask("start", supervisor.start),
      reload: ask("reload", supervisor.reload),
      stop: ask("stop", supervisor.stop()),
      exit: ask("exit", supervisor.exit),
      hasten: supervisor.hasten,
      signal: supervisor.signal("SIGUSR1"),
      childReady: onChild((child) => child.notifyReady),
      childExits: onChild((child) => child.exit(0)),
      childFails: onChild((child) => child.exit(1)),
      childKilled: onChild((child) => child.kill("SIGKILL")),
      childCloses: onChild((child) => child.closeReady),
      childHangs: onChild((child) => child.silent),
      time: TestClock.adjust("700 millis"),
      turn: turns(10)
    }
    for (const step of sequence) yield* Effect.suspend(() => take[step])

    yield* turns(50)
    const closed = yield* forkApart(Scope.close(scope, Exit.void))
    yield* Effect.repeat(Effect.zipRight(TestClock.adjust("5 seconds"), turns(20)), { times: 20 })
    assert.isTrue(Option.isSome(yield* Fiber.poll(closed)), "the scope closes")
    for (const call of ["start", "reload", "exit", "stop"] as const) yield* take[call]
    yield* TestClock.adjust("1 minute")

    for (const [step, fiber] of asked) {
      const ended = yield* Fiber.poll(fiber)
      assert.isTrue(Option.isSome(ended), `${step} ends`)
      const exit = Option.getOrThrow(ended)
      assert.isTrue(Exit.isSuccess(exit), `${step} is answered, and not by a defect or an interruption`)
      if (Exit.isSuccess(exit) && Either.isLeft(exit.value)) {
        const { _tag } = exit.value.left
        if (step === "exit") {
          // A new one that has failed where the old one had been stopped first, and is not to be started again.
          assert.include(
            ["ProcessEndedError", "RestartsExhaustedError", ...stopFirst ? ["ProcessStartError"] : []],
            _tag
          )
        } else assert.include(allowed[step as "start" | "reload"], _tag)
      }
    }
    const alive = yield* machine.processes
    if (!leaveRunning) assert.strictEqual(alive, 1, "no process is left")
    if (asked.some(([step], index) => step === "stop" && index < asked.length - 4)) {
      assert.strictEqual(alive, 1, "no process is left of what was stopped")
    }
  }
)

// In parts, one after the other, so that the time limit of each is its own.
describe.sequential.each([1, 2, 3, 4])("Supervisor, in any order of events, part %s of 4", () => {
  effectProperty(
    "every call ends and nothing is left over",
    [FastCheck.array(FastCheck.constantFrom(...steps), { minLength: 1, maxLength: 25 }), settings],
    ([sequence, setting]) => run(sequence, setting).pipe(Effect.provide(TestEnv.layer), Effect.scoped),
    { numRuns: 12, timeout: 60_000 }
  )

  effectProperty(
    "also around the moment in which a new one takes over",
    [FastCheck.array(FastCheck.constantFrom(...steps), { minLength: 1, maxLength: 10 }), settings],
    ([sequence, setting]) =>
      run(["start", "turn", "childReady", "turn", "reload", "turn", "childReady", ...sequence], {
        ...setting,
        workers: 1
      })
        .pipe(Effect.provide(TestEnv.layer), Effect.scoped),
    { numRuns: 12, timeout: 60_000 }
  )
})
