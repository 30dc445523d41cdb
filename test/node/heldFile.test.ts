import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { nameUnlessHeld } from "../../src/internal/node/heldFile.ts"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"

/** A process that has written its number to a file, and has that open. */
const holder = (file: string) =>
  Effect.gen(function*() {
    const program = `
const descriptor = require("fs").openSync(process.argv[1], "w")
require("fs").writeSync(descriptor, process.pid + "\\n")
console.log("held")
setInterval(() => {}, 1000)
`
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, ["-e", program, file], { stdio: ["ignore", "pipe", "inherit"] })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    yield* Effect.promise(() => once(child.stdout!, "data"))
    return {
      pid: child.pid!,
      end: Effect.promise(() => {
        const ended = once(child, "exit")
        child.kill("SIGKILL")
        return ended
      })
    }
  })

const making = Effect.map(directory, (dir) => {
  const file = path.join(dir, "app.pid")
  const temporary = path.join(dir, ".1-abc")
  return {
    file,
    take: (content = "1\n") => {
      fs.writeFileSync(temporary, content)
      return nameUnlessHeld(temporary, file)
    },
    files: () => fs.readdirSync(dir),
    content: () => fs.readFileSync(file, "utf8")
  }
})

describe.runIf(isLinux)("a file that belongs to whoever has it open", () => {
  it.scopedLive("has its name where nothing is, and in the place of what a process that is gone has left", () =>
    Effect.gen(function*() {
      const { content, file, files, take } = yield* making
      assert.deepStrictEqual(take("1\n"), Option.none())
      assert.strictEqual(content(), "1\n")
      const dead = yield* holder(file)
      yield* dead.end
      assert.deepStrictEqual(take("2\n"), Option.none())
      assert.strictEqual(content(), "2\n")
      assert.deepStrictEqual(files(), ["app.pid"])
    }))

  it.scopedLive("is left to a process that lives and has it open, which is named", () =>
    Effect.gen(function*() {
      const { content, file, take } = yield* making
      const { end, pid } = yield* holder(file)
      assert.deepStrictEqual(take(), Option.some(pid))
      assert.strictEqual(content(), `${pid}\n`)
      yield* end
      assert.deepStrictEqual(take(), Option.none())
    }))

  it.scopedLive("is not held by a process whose number it has by chance, or that has another file open", () =>
    Effect.gen(function*() {
      const { content, file, take } = yield* making
      const { pid } = yield* holder(path.join(yield* directory, "other"))
      for (const number of [pid, process.ppid, process.pid]) {
        fs.writeFileSync(file, `${number}\n`)
        assert.deepStrictEqual(take("new\n"), Option.none())
        assert.strictEqual(content(), "new\n")
      }
    }))

  it.scopedLive("is put in the place of what is no number, of a link and of a pipe, without following or waiting", () =>
    Effect.gen(function*() {
      const { content, file, take } = yield* making
      const target = path.join(yield* directory, "target")
      fs.writeFileSync(target, "of somebody else")
      for (
        const make of [
          () => fs.writeFileSync(file, "not a number\n"),
          () => fs.writeFileSync(file, "1".repeat(100)),
          () => fs.symlinkSync(target, file)
        ]
      ) {
        fs.rmSync(file, { force: true })
        make()
        assert.deepStrictEqual(take("new\n"), Option.none())
        assert.strictEqual(content(), "new\n")
      }
      assert.isTrue(fs.lstatSync(file).isFile())
      assert.strictEqual(fs.readFileSync(target, "utf8"), "of somebody else")
    }))

  it.scopedLive("fails where a directory is, and leaves that", () =>
    Effect.gen(function*() {
      const { file, take } = yield* making
      fs.mkdirSync(file)
      assert.throws(() => take(), /EISDIR|ENOTDIR|directory/i)
      assert.isTrue(fs.statSync(file).isDirectory())
    }))

  it.scopedLive("is taken although one who was about to take it was killed in the middle of it", () =>
    Effect.gen(function*() {
      const { content, file, files, take } = yield* making
      fs.writeFileSync(file, "999999\n")
      const { dev, ino } = fs.statSync(file)
      // What that one had for the right to replace this leftover.
      fs.writeFileSync(path.join(path.dirname(file), `.${dev.toString(36)}-${ino.toString(36)}`), "999998\n")
      assert.deepStrictEqual(take("new\n"), Option.none())
      assert.strictEqual(content(), "new\n")
      assert.deepStrictEqual(files(), ["app.pid"])
    }))
})
