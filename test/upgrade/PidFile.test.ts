import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Env from "../../src/Env.ts"
import * as PidFile from "../../src/PidFile.ts"
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
