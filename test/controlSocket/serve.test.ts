import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as net from "node:net"
import * as path from "node:path"
import * as journal from "../../src/internal/controlSocket/journal.ts"
import { serve } from "../../src/internal/controlSocket/serve.ts"
import { make } from "../../src/internal/controlSocket/upgrader.ts"
import { TestEnv } from "../../src/Testing.ts"
import * as Upgrader from "../../src/Upgrader.ts"
import { post, status } from "../kit/control.ts"
import { directory } from "../kit/files.ts"

/** A control socket of an upgrader on a simulated machine, on which nothing drains. */
const opened = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  const socket = path.join(yield* directory, "control.sock")
  const controlled = yield* make({ upgrader, workers: Option.none(), journal: journal.make })
  let server: net.Server | undefined
  yield* serve(controlled, (made) =>
    Effect.async<void>((resume) => {
      server = made.listen(socket, () => resume(Effect.void))
    }))
  yield* Effect.addFinalizer(() => Effect.sync(() => server?.close()))
  yield* upgrader.ready
  return { socket, isListening: () => server?.listening === true }
})

const machine = Upgrader.layerWithoutEnv().pipe(Layer.provideMerge(TestEnv.layer))

describe("a control socket", () => {
  it.live("accepts nobody any more once it says that a newer process has taken over", () =>
    Effect.gen(function*() {
      const { nextChild } = yield* TestEnv
      const { isListening, socket } = yield* opened
      const reload = yield* Effect.fork(post(socket, "/v1/reload"))
      const child = yield* nextChild
      assert.strictEqual((yield* status(socket)).generation, 1)
      yield* child.notifyReady
      assert.deepInclude((yield* Fiber.join(reload)).json, { outcome: "upgraded", pid: child.pid, generation: 2 })
      assert.isFalse(isListening())
    }).pipe(Effect.scoped, Effect.provide(machine)))

  it.live("goes on when the upgrade has failed", () =>
    Effect.gen(function*() {
      const { nextChild } = yield* TestEnv
      const { socket } = yield* opened
      const reload = yield* Effect.fork(post(socket, "/v1/reload"))
      yield* (yield* nextChild).exit(1)
      assert.strictEqual((yield* Fiber.join(reload)).json.error._tag, "ChildExitedError")
      assert.strictEqual((yield* status(socket)).generation, 1)
    }).pipe(Effect.scoped, Effect.provide(machine)))
})
