import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as ChildProcess from "../../src/ChildProcess.ts"
import { layer } from "../../src/Env.ts"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { spawn } from "../../src/internal/node/spawn.ts"
import { Env } from "../../src/internal/system/env.ts"
import type { Process, SpawnRequest } from "../../src/internal/system/process.ts"
import { directory } from "../kit/files.ts"

const script = (text: string, more: Partial<SpawnRequest> = {}): SpawnRequest => ({
  command: { executable: "/bin/sh", args: ["-c", text], directory: "/" },
  environment: { PATH: process.env["PATH"] ?? "" },
  names: new TextEncoder().encode("names\n"),
  state: Option.none(),
  control: false,
  inherit: [],
  ...more
})

const started = (request: SpawnRequest) => Effect.acquireRelease(spawn(request), ({ close }) => close)

describe("a process that is started", () => {
  it.scopedLive("has its streams where the layout says", () =>
    Effect.gen(function*() {
      // The names arrive at 4 and what it says at 3 is heard; the state is at 5, and then the control stream.
      const child = yield* started(
        script("read name <&4; read state <&5; read word <&6; printf \"$name $state $word\" >&3", {
          state: Option.some(new TextEncoder().encode("state\n")),
          control: true
        })
      )
      assert.isTrue(yield* child.tell(new TextEncoder().encode("word\n")))
      const said = yield* child.ready.read
      assert.strictEqual(new TextDecoder().decode(Option.getOrThrow(said)), "names state word")
      assert.deepStrictEqual(yield* child.exit, ExitStatus.Exited({ code: 0 }))
    }))

  it.scopedLive("has a channel behind them, on which it hears nothing that keeps it alive and says what is heard", () =>
    Effect.gen(function*() {
      const heard: Array<unknown> = []
      const ended = yield* Deferred.make<void>()
      const said = `if (process.channel.fd !== 5) process.exit(1); process.send({ _tag: "Hello" })`
      const child = yield* started({
        ...script(""),
        command: { executable: process.execPath, args: ["-e", said], directory: "/" },
        channel: true
      })
      Option.getOrThrow(child.channel).listen({
        onWords: (words) => void heard.push(words),
        onEnd: () => Deferred.unsafeDone(ended, Effect.void)
      })
      assert.deepStrictEqual(yield* child.exit, ExitStatus.Exited({ code: 0 }))
      yield* Deferred.await(ended)
      assert.deepStrictEqual(heard, [{ _tag: "Hello" }])
      assert.isFalse(Option.getOrThrow(child.channel).send({}))
    }))

  /** What it says there and how it ended, when all of that has been heard. */
  const saidBy = (program: string) =>
    Effect.gen(function*() {
      const heard: Array<readonly [words: unknown, hasConnection: boolean]> = []
      const ended = yield* Deferred.make<void>()
      const child = yield* started({
        ...script(""),
        command: { executable: process.execPath, args: ["-e", program], directory: "/" },
        channel: true
      })
      Option.getOrThrow(child.channel).listen({
        onWords: (words, connection) => {
          heard.push([words, Option.isSome(connection)])
          Option.map(connection, ({ close }) => close())
        },
        onEnd: () => Deferred.unsafeDone(ended, Effect.void)
      })
      yield* Deferred.await(ended)
      return { heard, status: yield* child.exit }
    })

  it.scopedLive("has its channel closed when it writes there what is no JSON", () =>
    Effect.gen(function*() {
      const { heard, status } = yield* saidBy(`
        process.on("disconnect", () => process.exit(0))
        process.send("before", () => require("node:fs").writeSync(process.channel.fd, "{]\\n"))
      `)
      assert.deepStrictEqual(heard, [["before", false]])
      assert.deepStrictEqual(status, ExitStatus.Exited({ code: 0 }))
    }))

  it.scopedLive("may acknowledge there what it was not sent", () =>
    Effect.gen(function*() {
      const { heard } = yield* saidBy(`process.send({ cmd: "NODE_HANDLE_ACK" }, () => process.send("after"))`)
      assert.deepStrictEqual(heard, [["after", false]])
    }))

  it.scopedLive("may send there a connection as Node does, which can be closed", () =>
    Effect.gen(function*() {
      const { heard, status } = yield* saidBy(`
        const net = require("node:net")
        const server = net.createServer((socket) => process.send("socket", socket)).listen(0, "127.0.0.1", () =>
          net.connect(server.address().port, "127.0.0.1").on("close", () => process.exit(0)))
      `)
      assert.deepStrictEqual(heard, [["socket", true]])
      assert.deepStrictEqual(status, ExitStatus.Exited({ code: 0 }))
    }))

  it.scopedLive("is ended when whoever starts it is interrupted before it is known to him", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const begun = yield* Deferred.make<Process>()
      const starting = ChildProcess.spawn({ command: { executable: "/bin/sleep", args: ["60"], directory: "/" } }).pipe(
        Effect.scoped,
        Effect.provideService(Env, {
          ...env,
          spawn: (request) =>
            env.spawn(request).pipe(
              Effect.tap((process) => Deferred.succeed(begun, process)),
              Effect.tap(() => Effect.sleep("50 millis"))
            )
        })
      )
      const starter = yield* Effect.fork(starting)
      const process = yield* Deferred.await(begun)
      yield* Effect.addFinalizer(() => process.signal("SIGKILL"))
      yield* Fiber.interrupt(starter)
      assert.isFalse(yield* process.signal("SIGKILL"))
      assert.deepStrictEqual(yield* process.exit, ExitStatus.Killed({ signal: "SIGTERM" }))
    }).pipe(Effect.provide(layer)))

  it.scopedLive("tells its status, and the signal that has ended it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* (yield* started(script("exit 7"))).exit, ExitStatus.Exited({ code: 7 }))
      const child = yield* started(script("read nothing <&4; read never <&4"))
      assert.isTrue(yield* child.signal("SIGKILL"))
      assert.deepStrictEqual(yield* child.exit, ExitStatus.Killed({ signal: "SIGKILL" }))
      assert.isFalse(yield* child.signal("SIGTERM"))
    }))

  it.scopedLive("cannot be one that is not there, may not be run, or gets too much", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const reasonOf = (request: SpawnRequest) => Effect.map(Effect.flip(spawn(request)), ({ reason }) => reason)
      const of = (executable: string) => ({ ...script(""), command: { executable, args: [], directory: "/" } })
      assert.strictEqual(yield* reasonOf(of(`${dir}/missing`)), "NotFound")
      assert.strictEqual(yield* reasonOf(of(dir)), "PermissionDenied")
      assert.strictEqual(yield* reasonOf(script("", { environment: { BIG: "x".repeat(5_000_000) } })), "TooBig")
    }))
})
