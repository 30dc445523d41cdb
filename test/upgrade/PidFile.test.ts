import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Env from "../../src/Env.ts"
import * as PidFile from "../../src/PidFile.ts"
import { TestEnv } from "../../src/Testing.ts"
import { directory } from "../kit/files.ts"

const read = (file: string) => fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "nothing"

describe("a PID file that is written after something else", () => {
  it.scoped("has its name when that is done, and not before", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "app.pid")
      const pidFile = yield* PidFile.make(file)
      const during = yield* pidFile.writeAfter(Effect.sync(() => read(file)))
      assert.strictEqual(during, "nothing")
      assert.strictEqual(read(file), `${process.pid}\n`)
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["app.pid"])
    }).pipe(Effect.provide(Env.layer)))

  it.scoped("stays as it was if that fails, and leaves nothing beside", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "app.pid")
      fs.writeFileSync(file, "1\n")
      const pidFile = yield* PidFile.make(file)
      assert.strictEqual(yield* Effect.flip(pidFile.writeAfter(Effect.fail("no"))), "no")
      assert.strictEqual(read(file), "1\n")
      assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["app.pid"])
    }).pipe(Effect.provide(Env.layer)))

  it.scoped("fails before that is begun where it cannot be written", () =>
    Effect.gen(function*() {
      const pidFile = yield* PidFile.make(path.join(yield* directory, "gone", "app.pid"))
      const error = yield* Effect.flip(pidFile.writeAfter(Effect.die("begun")))
      assert.strictEqual(error._tag, "PidFileError")
    }).pipe(Effect.provide(Env.layer)))
})

describe("a PID file", () => {
  it.scoped("is written in the directory that is there by then", () =>
    Effect.gen(function*() {
      const dir = path.join(yield* directory, "run")
      fs.mkdirSync(dir)
      const file = path.join(dir, "app.pid")
      const pidFile = yield* PidFile.make(file, { exclusive: true })
      yield* pidFile.writeAfter(Effect.sync(() => {
        fs.renameSync(dir, `${dir}-old`)
        fs.mkdirSync(dir)
      }))
      assert.strictEqual(read(file), `${process.pid}\n`)
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.pid"])
      yield* pidFile.remove
      assert.deepStrictEqual(fs.readdirSync(dir), [])
    }).pipe(Effect.provide(Env.layer)))

  it.scoped("that somebody else has written since is not removed, whatever number is in it", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "app.pid")
      const pidFile = yield* PidFile.make(file)
      yield* pidFile.write
      fs.rmSync(file)
      fs.writeFileSync(file, `${process.pid}\n`)
      yield* pidFile.remove
      assert.strictEqual(read(file), `${process.pid}\n`)
    }).pipe(Effect.provide(Env.layer)))

  it.effect("that cannot be removed is told as that", () =>
    Effect.gen(function*() {
      const pidFile = yield* PidFile.make("app.pid")
      yield* pidFile.write
      const { failFiles } = yield* TestEnv
      yield* failFiles("EROFS")
      const { message } = yield* Effect.flip(pidFile.remove)
      assert.match(message, /^Could not remove the PID file \/.*app\.pid: EROFS$/)
    }).pipe(Effect.provide(TestEnv.layer)))
})
