/**
 * Each way in which a command shows that it serves, by a child that says what the test has it say.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type { ChildProcess } from "../../src/ChildProcess.ts"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { waitUntilReady } from "../../src/internal/supervisor/readiness.ts"
import { Env } from "../../src/internal/system/env.ts"
import type { ProbeOutcome, ProbeTarget } from "../../src/internal/system/probe.ts"
import * as Readiness from "../../src/Readiness.ts"
import { ChildExitedError, ProtocolError } from "../../src/TableflipError.ts"
import { TestEnv } from "../../src/Testing.ts"

const settle = Effect.repeat(Effect.yieldNow(), { times: 200 })

interface Script {
  /** What it writes to its descriptor, chunk by chunk; then it closes it. */
  readonly written?: ReadonlyArray<string>
  /** What each probe sees; the last one goes on. */
  readonly probes?: ReadonlyArray<ProbeOutcome | "hangs">
  readonly lastLines?: ReadonlyArray<string>
}

/** Waits for a command with a timeout of ten seconds. */
const waiting = (readiness: Readiness.Readiness, { lastLines = [], probes = [], written = [] }: Script = {}) =>
  Effect.gen(function*() {
    const ready = yield* Deferred.make<void, ChildExitedError | ProtocolError>()
    const greeting = yield* Deferred.make<void>()
    const chunks = [...written]
    let discarded = 0
    const child = {
      pid: 7,
      ready: Deferred.await(ready),
      greeting: Deferred.await(greeting),
      lastLines: Effect.succeed(lastLines),
      outputEnd: Effect.never,
      notification: Option.some({
        read: Effect.sync(() => Option.map(Option.fromNullable(chunks.shift()), (text) => Buffer.from(text))),
        discard: Effect.sync(() => {
          discarded += 1
        }),
        descriptor: Effect.succeedNone
      })
    } as Partial<ChildProcess> as ChildProcess
    const targets: Array<ProbeTarget> = []
    const probe = (target: ProbeTarget): Effect.Effect<ProbeOutcome> =>
      Effect.suspend(() => {
        const seen = probes[Math.min(targets.push(target), probes.length) - 1]!
        return seen === "hangs" ? Effect.never : Effect.succeed(seen)
      })
    const env = { ...(yield* Env), probe: Option.some(probe) }
    const wait = yield* Effect.fork(waitUntilReady(env, child, readiness, Duration.seconds(10)))
    yield* settle
    return {
      isWaiting: Effect.map(settle, () => wait.unsafePoll() === null),
      /** It must be ready by now. */
      done: Effect.sync(() => assert.deepStrictEqual(wait.unsafePoll(), Exit.void)),
      /** It must have failed by now. */
      failure: Effect.flip(Fiber.join(wait)),
      says: (word: Effect.Effect<void, ChildExitedError | ProtocolError>) =>
        Effect.zipRight(Deferred.complete(ready, word), settle),
      greets: Deferred.complete(greeting, Effect.void),
      pass: (time: Duration.DurationInput) => Effect.zipRight(TestClock.adjust(time), settle),
      probes: () => targets.length,
      target: () => targets[0],
      discarded: () => discarded
    }
  })

const served: ProbeOutcome = { _tag: "Served" }
const refused: ProbeOutcome = { _tag: "Refused", detail: "status 503" }
const elsewhere: ProbeOutcome = { _tag: "Elsewhere", detail: "another process answered" }

const exited = new ChildExitedError({ pid: 7, ready: false, status: ExitStatus.Exited({ code: 1 }) })

const asked = Readiness.Http({ url: new URL("http://127.0.0.1:80/") })

describe("a command that is probed", () => {
  it.scoped("is ready with the first answer that is its own, and is asked again after a refusal a while later", () =>
    Effect.gen(function*() {
      const { done, isWaiting, pass, probes, target } = yield* waiting(asked, { probes: [refused, served] })
      assert.deepInclude(target(), { _tag: "Http", pid: 7 })
      assert.strictEqual(probes(), 1)
      yield* pass("99 millis")
      assert.isTrue(yield* isWaiting)
      yield* pass("1 millis")
      yield* done
      assert.strictEqual(probes(), 2)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is asked again at once when another process has answered, but not without end", () =>
    Effect.gen(function*() {
      const { isWaiting, pass, probes } = yield* waiting(asked, { probes: [elsewhere] })
      assert.strictEqual(probes(), 21)
      yield* pass("100 millis")
      assert.strictEqual(probes(), 42)
      assert.isTrue(yield* isWaiting)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is given up in time, with what was seen last", () =>
    Effect.gen(function*() {
      const { failure, pass } = yield* waiting(Readiness.Tcp({ host: "127.0.0.1", port: 80 }), {
        probes: [refused, "hangs"]
      })
      for (let second = 0; second < 10; second++) yield* pass("1 second")
      const error = yield* failure
      assert.deepInclude(error, { _tag: "ReadyTimeoutError", pid: 7 })
      assert.include(error.message, "a connection to 127.0.0.1:80 (nothing came within 1s)")
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("may say by the protocol that it is ready, before it answers", () =>
    Effect.gen(function*() {
      const { done, says } = yield* waiting(asked, { probes: [refused] })
      yield* says(Effect.void)
      yield* done
    }).pipe(Effect.provide(TestEnv.layer)))
})

describe("a command that writes a newline", () => {
  it.scoped("is ready with it, and may write on", () =>
    Effect.gen(function*() {
      const { discarded, done } = yield* waiting(Readiness.Descriptor({ number: 4 }), {
        written: ["starting", " up\n"]
      })
      yield* done
      assert.strictEqual(discarded(), 1)
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("has failed when it closes the descriptor without one, unless it is known to have ended", () =>
    Effect.gen(function*() {
      const closed = yield* waiting(Readiness.Descriptor({ number: 4 }), { written: ["starting"] })
      const ended = yield* waiting(Readiness.Descriptor({ number: 4 }))
      yield* ended.says(exited)
      yield* closed.pass("250 millis")
      const error = yield* closed.failure
      assert.strictEqual(error._tag, "ProtocolError")
      assert.include(error.message, "descriptor 4 was closed without the newline of a ready process")
      assert.strictEqual((yield* ended.failure)._tag, "ChildExitedError")
    }).pipe(Effect.provide(TestEnv.layer)))
})

describe("a command with a warm-up", () => {
  const warmup = Readiness.Warmup({ duration: "3 seconds" })

  it.scoped("is ready when it is over", () =>
    Effect.gen(function*() {
      const { done, isWaiting, pass } = yield* waiting(warmup)
      yield* pass("2999 millis")
      assert.isTrue(yield* isWaiting)
      yield* pass("1 millis")
      yield* done
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("is waited for longer once it has said that it speaks the protocol", () =>
    Effect.gen(function*() {
      const { done, greets, isWaiting, pass, says } = yield* waiting(warmup)
      yield* greets
      yield* pass("9 seconds")
      assert.isTrue(yield* isWaiting)
      yield* says(Effect.void)
      yield* done
    }).pipe(Effect.provide(TestEnv.layer)))

  it.scoped("may close the stream of the protocol, of which it knows nothing", () =>
    Effect.gen(function*() {
      const { done, isWaiting, pass, says } = yield* waiting(warmup)
      yield* says(new ProtocolError({ source: "the ready stream", detail: "was closed" }))
      assert.isTrue(yield* isWaiting)
      yield* pass("3 seconds")
      yield* done
    }).pipe(Effect.provide(TestEnv.layer)))
})

describe("a command that ends before it is ready", () => {
  it.scoped("has failed at once, with the last lines of its output, whether or not that has an end", () =>
    Effect.gen(function*() {
      const { failure, pass, says } = yield* waiting(Readiness.Wire, { lastLines: ["no such table"] })
      yield* says(exited)
      yield* pass("250 millis")
      assert.deepInclude(yield* failure, { _tag: "ChildExitedError", output: ["no such table"] })
    }).pipe(Effect.provide(TestEnv.layer)))
})
