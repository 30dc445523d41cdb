/**
 * What a process has sent on the channel on which connections go, before it is killed, and that nobody has read by then.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { toChild } from "../../src/internal/node/channel.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux, readOrEmpty } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const stateOf = (pid: number) => /^State:\t(\w)/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1]

const isOver = (pid: number) => ["Z", "X", undefined].includes(stateOf(pid))

describe.runIf(isLinux)("connections that a process has sent before it is killed", () => {
  const allCome = (...roles: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const app = yield* start(fixture("channel.mjs"), { args: roles })
      const [giver = 0, taker = 0] = yield* Effect.forEach(
        ["GIVER", "TAKER"],
        (name) => Effect.map(app.waitFor(new RegExp(`^${name} (\\d+)`)), ([, pid]) => Number(pid))
      )
      yield* signal(taker, "SIGSTOP")
      yield* eventually("it to stand still", () => stateOf(taker) === "T")
      yield* signal(giver, "SIGUSR2")
      yield* eventually("the other one to be killed", () => isOver(giver))
      yield* signal(taker, "SIGCONT")
      const [, got] = yield* app.waitFor(/^GOT (\d+)/)
      assert.strictEqual(Number(got), 12)
    })

  it.scopedLive("have all come to the one that it has started, which reads them later", () => allCome("give", "take"))

  it.scopedLive("have all come to the one that has started it, which reads them later", () => allCome("take", "give"))
})

describe.runIf(isLinux)("a state of a megabyte", () => {
  const child = Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["-e", `process.on("message", () => {}); console.log("UP")`], {
        stdio: ["ignore", "pipe", "inherit", "ipc"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

  /** Sent to a process that stands still; tells whether it is written. */
  const sent = Effect.gen(function*() {
    const process = yield* child
    const channel = Option.getOrThrow(toChild(process))
    yield* Effect.promise(() => once(process.stdout!, "data"))
    const pid = process.pid!
    yield* signal(pid, "SIGSTOP")
    yield* eventually("it to stand still", () => stateOf(pid) === "T")
    let isWritten = false
    channel.send({ _tag: "Left", id: 1, state: "x".repeat(1024 * 1024) })
    channel.written(() => {
      isWritten = true
    })
    return { pid, isWritten: () => isWritten }
  })

  it.scopedLive("is written when the other process has begun to read it, not when it was sent", () =>
    Effect.gen(function*() {
      const { isWritten, pid } = yield* sent
      yield* Effect.sleep("50 millis")
      assert.isFalse(isWritten())
      yield* signal(pid, "SIGCONT")
      yield* eventually("it to be written", isWritten)
    }))

  it.scopedLive("is not waited for when the other process has ended", () =>
    Effect.gen(function*() {
      const { isWritten, pid } = yield* sent
      yield* signal(pid, "SIGKILL")
      yield* eventually("it to be let go of", isWritten)
    }))
})
