import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { files } from "../../src/internal/node/files.ts"
import { directory } from "../kit/files.ts"

/** What a change does to the fingerprint of a folder, or of what is called so in it. */
const changes = (before: (dir: string) => void, change: (dir: string) => void, name = "") =>
  Effect.gen(function*() {
    const dir = yield* directory
    before(dir)
    const first = yield* files.fingerprint(path.join(dir, name))
    assert.strictEqual(yield* files.fingerprint(path.join(dir, name)), first, "nothing has changed")
    change(dir)
    return (yield* files.fingerprint(path.join(dir, name))) !== first
  })

const write = (name: string, content: string) => (dir: string) => {
  fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true })
  fs.writeFileSync(path.join(dir, name), content)
}

const touch = (name: string) => (dir: string) => fs.utimesSync(path.join(dir, name), 1, 1)

/** As Kubernetes puts a ConfigMap there, and another one in its place. */
const volume = (version: string, content: string) => (dir: string) => {
  write(`..${version}/app.json`, content)(dir)
  fs.symlinkSync(`..${version}`, path.join(dir, "..data.new"))
  fs.renameSync(path.join(dir, "..data.new"), path.join(dir, "..data"))
  if (!fs.existsSync(path.join(dir, "app.json"))) fs.symlinkSync("..data/app.json", path.join(dir, "app.json"))
}

describe("the fingerprint of files", () => {
  const changed = {
    "a file that is written": [write("a", "1"), write("a", "22"), "a"],
    "a file that is touched": [write("a", "1"), touch("a"), "a"],
    "a file that another one takes the place of": [
      (dir: string) => {
        write("a", "1")(dir)
        write("b", "1")(dir)
        touch("a")(dir)
        touch("b")(dir)
      },
      (dir: string) => fs.renameSync(path.join(dir, "b"), path.join(dir, "a")),
      "a"
    ],
    "a file deep in a folder": [write("x/y/a", "1"), write("x/y/a", "22"), ""],
    "a file that comes": [write("a", "1"), write("b", ""), ""],
    "a file that goes": [write("a", "1"), (dir: string) => fs.rmSync(path.join(dir, "a")), ""],
    "a volume of Kubernetes": [volume("1", "{}"), volume("2", "[]"), ""],
    "a file of such a volume": [volume("1", "{}"), volume("2", "[]"), "app.json"]
  } as const
  for (const [what, [before, change, name]] of Object.entries(changed)) {
    it.scopedLive(`is another one after ${what}`, () => Effect.map(changes(before, change, name), assert.isTrue))
  }

  it.scopedLive("is the same where a link leads to a folder that it is in, and to nothing", () =>
    Effect.map(
      changes((dir) => {
        write("x/a", "1")(dir)
        fs.symlinkSync("..", path.join(dir, "x", "loop"))
        fs.symlinkSync("nowhere", path.join(dir, "broken"))
      }, () => {}),
      assert.isFalse
    ))

  it.scopedLive("takes no longer where folders lead to each other crosswise", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const names = Array.from({ length: 30 }, (_, index) => path.join(dir, `p${index}`))
      for (const name of names) fs.mkdirSync(name)
      for (const [index, name] of names.entries()) {
        for (const other of names.slice(index + 1)) fs.symlinkSync(other, path.join(name, path.basename(other)))
      }
      assert.isBelow((yield* files.fingerprint(dir)).length, 100_000)
    }))

  it.scopedLive("is none of what is not there", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      assert.include(String(yield* Effect.flip(files.fingerprint(path.join(dir, "a")))), "ENOENT")
    }))
})
