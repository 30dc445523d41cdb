/**
 * A pool that runs until its work is done, with whatever happens to its workers meanwhile.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { forkApart, scheduleOf } from "../../src/internal/seam.ts"
import type { Env } from "../../src/internal/system/env.ts"
import * as internal from "../../src/internal/workers/workers.ts"
import type { FakeProcess } from "../../src/Testing.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Workers from "../../src/Workers.ts"
import { effectProperty } from "../kit/property.ts"

interface Setting {
  readonly size: number
  readonly policy: "on-failure" | "never"
}

/** Each pause twice as long as the one before. */
const threeTimes = scheduleOf(0, (_, times) => times < 3 ? [times + 1, 100 * 2 ** times] : undefined)

/** `Workers.run` on this machine. */
const run = ({ policy, size }: Setting) =>
  internal.run(Workers.Workers, { _tag: "Task", effect: Effect.void }, {
    size,
    restart: { policy, schedule: threeTimes },
    ready: { timeout: "5 seconds" },
    stop: { timeout: "2 seconds" }
  }) as Effect.Effect<ReadonlyArray<Workers.ProcessExit>, { readonly _tag: string }, Env>

const turns = (times: number) => Effect.repeat(Effect.yieldNow(), { times })

const steps = [
  "ready",
  "exits",
  "fails",
  "killed",
  "closes",
  "garbage",
  "hangs",
  "stop",
  "time",
  "turn"
] as const
type Step = typeof steps[number]

const anything = Effect.fnUntraced(function*(sequence: ReadonlyArray<readonly [Step, number]>, setting: Setting) {
  const machine = yield* TestEnv
  const children: Array<FakeProcess> = []
  yield* machine.nextChild.pipe(
    Effect.tap((child) => Effect.sync(() => children.push(child))),
    Effect.forever,
    Effect.fork
  )
  const pool = yield* forkApart(Effect.either(run(setting)))
  const onChild = (index: number, act: (child: FakeProcess) => Effect.Effect<unknown, unknown>) =>
    children.length === 0 ? Effect.void : Effect.ignore(act(children[index % children.length]!))
  let own = 1
  const stop = Effect.gen(function*() {
    const before = yield* machine.processes
    yield* machine.self.kill("SIGTERM")
    if (before === (yield* machine.processes)) return
    // A pool that is just about to end hears it no more, and the process ends as any other does.
    own = 0
    yield* turns(20)
    assert.isFalse(pool.unsafePoll() === null, "it hears a signal as long as it runs")
  })
  const take: Record<Step, (index: number) => Effect.Effect<unknown>> = {
    ready: (index) => onChild(index, (child) => child.notifyReady),
    exits: (index) => onChild(index, (child) => child.exit(0)),
    fails: (index) => onChild(index, (child) => child.exit(1)),
    killed: (index) => onChild(index, (child) => child.kill("SIGKILL")),
    closes: (index) => onChild(index, (child) => child.closeReady),
    garbage: (index) => onChild(index, (child) => child.garbage(Uint8Array.of(7))),
    hangs: (index) => onChild(index, (child) => child.silent),
    stop: (index) => index === 0 && pool.unsafePoll() === null ? stop : Effect.void,
    time: (index) => TestClock.adjust(index * 700),
    turn: () => turns(10)
  }
  yield* turns(20)
  for (const [step, index] of sequence) yield* Effect.suspend(() => take[step](index))

  // The work is done everywhere, sooner or later.
  for (let n = 0; n < 30; n++) {
    yield* turns(20)
    for (const child of children) yield* Effect.ignore(child.notifyReady)
    yield* turns(20)
    for (const child of children) yield* child.exit(0)
    yield* TestClock.adjust("1 second")
  }
  const ended = yield* Fiber.poll(pool)
  assert.isTrue(Option.isSome(ended), "it ends")
  const exit = Option.getOrThrow(ended)
  if (Exit.isFailure(exit)) assert.fail(`it has no answer: ${String(exit)}`)
  const pids = children.map(({ pid }) => pid)
  if (Exit.isSuccess(exit) && Either.isRight(exit.value)) {
    for (const { pid } of exit.value.right) assert.include(pids, pid)
  }
  assert.strictEqual(yield* machine.processes, own, "no process is left")
})

// In parts, one after the other, so that the time limit of each is its own.
describe.sequential.each([1, 2, 3])("Workers.run, in any order of events, part %s of 3", () => {
  effectProperty(
    "ends and leaves nothing",
    [
      FastCheck.array(FastCheck.tuple(FastCheck.constantFrom(...steps), FastCheck.nat({ max: 3 })), { maxLength: 25 }),
      FastCheck.record({
        size: FastCheck.integer({ min: 1, max: 3 }),
        policy: FastCheck.constantFrom<Setting["policy"]>("on-failure", "never")
      })
    ],
    ([sequence, setting]) => anything(sequence, setting).pipe(Effect.provide(TestEnv.layer), Effect.scoped),
    { numRuns: 20, timeout: 60_000 }
  )
})
