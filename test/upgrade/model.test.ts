/**
 * Random interleavings of everything that can happen to an upgrader, against a model of a few lines. What is asserted is
 * what matters most: every call ends, in what the model allows, and nothing is left over.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { effectProperty } from "../kit/property.ts"

type Step =
  | "ready"
  | "upgrade"
  | "stop"
  | "signal"
  | "childReady"
  | "childExits"
  | "childKilled"
  | "childGarbage"
  | "childCloses"
  | "childHangs"
  | "time"
  | "turn"

const steps: ReadonlyArray<Step> = [
  "ready",
  "upgrade",
  "stop",
  "signal",
  "childReady",
  "childExits",
  "childKilled",
  "childGarbage",
  "childCloses",
  "childHangs",
  "time",
  "turn"
]

const stepArbitrary = FastCheck.constantFrom(...steps)

const refusals = ["NotReadyError", "UpgradeInProgressError", "AlreadyUpgradedError", "TerminatingError"]
const failures = ["ChildExitedError", "ProtocolError", "UpgradeTimeoutError"]

const run = Effect.fnUntraced(function*(sequence: ReadonlyArray<Step>, probation: boolean) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    Upgrader.layerWithoutEnv({ pidFile: "/run/app.pid", probation: probation ? "1 second" : 0 }),
    scope
  )
  const upgrader = yield* Effect.provide(Upgrader.Upgrader, context)
  const machine = yield* TestEnv
  const children: Array<FakeProcess> = []
  yield* machine.nextChild.pipe(
    Effect.tap((child) => Effect.sync(() => children.push(child))),
    Effect.forever,
    Effect.fork
  )
  const upgrades: Array<Fiber.RuntimeFiber<Either.Either<{ readonly pid: number }, { readonly _tag: string }>>> = []
  const others: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
  let wasReady = false

  const onChild = (act: (child: FakeProcess) => Effect.Effect<unknown, unknown>) =>
    Option.match(Option.fromNullable(children.at(-1)), {
      onNone: () => Effect.void,
      onSome: (child) => Effect.ignore(act(child))
    })
  const take: Record<Step, Effect.Effect<unknown>> = {
    ready: Effect.suspend(() => {
      wasReady = true
      return Effect.map(Effect.fork(upgrader.ready), (fiber) => others.push(fiber))
    }),
    upgrade: Effect.map(Effect.fork(Effect.either(upgrader.upgrade)), (fiber) => upgrades.push(fiber)),
    stop: Effect.map(Effect.fork(upgrader.stop), (fiber) => others.push(fiber)),
    signal: machine.self.kill("SIGHUP"),
    childReady: onChild((child) => child.notifyReady),
    childExits: onChild((child) => child.exit(1)),
    childKilled: onChild((child) => child.kill("SIGKILL")),
    childGarbage: onChild((child) => child.garbage(Uint8Array.of(7, 42))),
    childCloses: onChild((child) => child.closeReady),
    childHangs: onChild((child) => child.silent),
    time: TestClock.adjust("700 millis"),
    turn: Effect.yieldNow()
  }
  for (const step of sequence) yield* take[step]

  // Enough for every time-out, also of a child that must be killed.
  yield* TestClock.adjust("2 minutes")
  const closed = yield* Effect.fork(Scope.close(scope, Exit.void))
  yield* TestClock.adjust("2 minutes")
  yield* closed

  const outcomes = yield* Effect.forEach(upgrades, Fiber.join)
  yield* Effect.forEach(others, Fiber.await)
  const reason = yield* upgrader.exit

  const succeeded = outcomes.flatMap((outcome) => Either.isRight(outcome) ? [outcome.right] : [])
  assert.isAtMost(succeeded.length, 1, "a process hands over once")
  for (const outcome of outcomes) {
    if (Either.isLeft(outcome)) assert.include([...refusals, ...failures], outcome.left._tag)
  }
  if (!wasReady) assert.lengthOf(children, 0, "nothing is started before ready")
  const alive = yield* machine.processes
  if (reason._tag === "Upgraded") {
    assert.include([1, 2], alive, "the successor may have ended after the hand-over, nobody else lives")
    if (succeeded.length > 0) assert.strictEqual(succeeded[0]!.pid, reason.pid)
  } else {
    assert.lengthOf(succeeded, 0)
    assert.strictEqual(alive, 1, "no process is left of an upgrade that did not happen")
    assert.strictEqual(yield* machine.self.openDescriptors, 0)
    assert.strictEqual((yield* machine.files).size, 0, "the PID file is removed")
  }
})

// In parts, one after the other, so that the time limit of each is its own.
describe.sequential.each([1, 2, 3, 4, 5])("Upgrader, in any order of events, part %s of 5", () => {
  effectProperty(
    "every call ends and nothing is left over",
    [FastCheck.array(stepArbitrary, { minLength: 1, maxLength: 25 }), FastCheck.boolean()],
    ([sequence, probation]) => run(sequence, probation).pipe(Effect.provide(TestEnv.layer), Effect.scoped),
    { numRuns: 20, timeout: 60_000 }
  )

  effectProperty(
    "also around the moment of the hand-over",
    [FastCheck.array(stepArbitrary, { minLength: 1, maxLength: 8 }), FastCheck.boolean()],
    ([sequence, probation]) =>
      run(["ready", "turn", "upgrade", "turn", "turn", ...sequence], probation).pipe(
        Effect.provide(TestEnv.layer),
        Effect.scoped
      ),
    { numRuns: 40, timeout: 60_000 }
  )
})
