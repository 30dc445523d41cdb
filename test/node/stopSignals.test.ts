import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { vi } from "vitest"
import * as logger from "../../src/internal/cli/logger.ts"
import { hold } from "../../src/internal/node/stopSignals.ts"

/** A process whose signals are held, as far as that goes without sending it one. */
const held = Effect.gen(function*() {
  const before = { SIGTERM: process.listeners("SIGTERM"), SIGINT: process.listeners("SIGINT") }
  const kill = vi.spyOn(process, "kill").mockReturnValue(true)
  const ofTest = process.kill
  let now = 1_000_000
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now)
  const scope = yield* Scope.make()
  const said: Array<string> = []
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      clock.mockRestore()
      for (const signal of ["SIGTERM", "SIGINT"] as const) {
        for (const listener of process.listeners(signal)) {
          if (!before[signal].includes(listener)) process.off(signal, listener)
        }
      }
      process.kill = ofTest
      kill.mockRestore()
    })
  )
  yield* hold.pipe(
    Scope.extend(scope),
    Effect.provide(logger.layer("Debug", ({ message }) => void said.push(String(message))))
  )
  const ours = (signal: "SIGTERM" | "SIGINT") =>
    process.listeners(signal).find((listener) => !before[signal].includes(listener))
  const listeners = { SIGTERM: ours("SIGTERM")!, SIGINT: ours("SIGINT")! }
  return {
    said,
    /** What has reached the system. */
    sent: () => kill.mock.calls,
    ofTest,
    deliver: (signal: "SIGTERM" | "SIGINT") => listeners[signal](signal),
    pass: (millis: number) => {
      now += millis
    },
    isHeard: (signal: "SIGTERM" | "SIGINT") => process.listeners(signal).includes(listeners[signal]),
    others: (signal: "SIGTERM" | "SIGINT") => {
      const other = () => {}
      process.on(signal, other)
      return () => process.off(signal, other)
    },
    close: Scope.close(scope, Exit.void)
  }
})

describe.sequential("the signals that stop a process", () => {
  it.scopedLive("are sent to itself as ever before it has heard one, and to others always", () =>
    Effect.gen(function*() {
      const { deliver, others, said, sent } = yield* held
      process.kill(process.pid, "SIGTERM")
      process.kill(process.pid)
      assert.deepStrictEqual(sent(), [[process.pid, "SIGTERM"], [process.pid, "SIGTERM"]])
      others("SIGTERM")
      deliver("SIGTERM")
      process.kill(1, "SIGTERM")
      process.kill(process.pid, "SIGUSR2")
      process.kill(process.pid, 0)
      assert.deepStrictEqual(sent().slice(2), [[1, "SIGTERM"], [process.pid, "SIGUSR2"], [process.pid, 0]])
      assert.deepStrictEqual(said, [])
    }))

  it.scopedLive("that it sends to itself while it stops, by name or by number, are told and do nothing else", () =>
    Effect.gen(function*() {
      const { deliver, others, pass, said, sent } = yield* held
      others("SIGINT")
      deliver("SIGINT")
      pass(60_000)
      assert.isTrue(process.kill(process.pid, "SIGTERM"))
      assert.isTrue(process.kill(process.pid, 2))
      assert.isTrue(process.kill(process.pid))
      assert.deepStrictEqual(sent(), [])
      assert.deepStrictEqual(said.map((line) => /has sent (\w+) to itself while it stops/.exec(line)?.[1]), [
        "SIGTERM",
        "SIGINT",
        "SIGTERM"
      ])
    }))

  it.scopedLive("that nobody hears end it as without us, save those of the same press", () =>
    Effect.gen(function*() {
      const { deliver, isHeard, others, pass, sent } = yield* held
      const off = others("SIGTERM")
      deliver("SIGTERM")
      // As NodeRuntime.runMain lets go of them.
      off()
      pass(999)
      deliver("SIGTERM")
      deliver("SIGINT")
      assert.deepStrictEqual(sent(), [])
      pass(1)
      deliver("SIGTERM")
      assert.deepStrictEqual(sent(), [[process.pid, "SIGTERM"]])
      assert.deepStrictEqual([isHeard("SIGTERM"), isHeard("SIGINT")], [false, true])
    }))

  it.scopedLive("are let go of with the scope, unless the process stops", () =>
    Effect.gen(function*() {
      const one = yield* held
      yield* one.close
      assert.deepStrictEqual([one.isHeard("SIGTERM"), one.isHeard("SIGINT")], [false, false])
      assert.strictEqual(process.kill, one.ofTest)
    }))

  it.scopedLive("stay held after the scope while the process stops, until it ends itself by one", () =>
    Effect.gen(function*() {
      const { close, deliver, isHeard, ofTest, others, said, sent } = yield* held
      const off = others("SIGTERM")
      deliver("SIGTERM")
      off()
      yield* close
      assert.isTrue(isHeard("SIGTERM"))
      deliver("SIGTERM")
      assert.deepStrictEqual(sent(), [], "of the same press")
      process.kill(process.pid, "SIGTERM")
      assert.deepStrictEqual(sent(), [[process.pid, "SIGTERM"]])
      assert.deepStrictEqual([isHeard("SIGTERM"), isHeard("SIGINT"), said.length], [false, false, 0])
      assert.strictEqual(process.kill, ofTest)
    }))
})
