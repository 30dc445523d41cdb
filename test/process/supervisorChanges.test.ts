/**
 * A command whose configuration lies in a volume, as Kubernetes puts it there and replaces it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import { ready, run, soon } from "../kit/tableflip.ts"

/** All at once: a link is turned to another folder. */
const put = (volume: string, version: number, text: string) => {
  const folder = path.join(volume, `..${version}`)
  fs.mkdirSync(folder)
  fs.writeFileSync(path.join(folder, "env"), text)
  fs.symlinkSync(`..${version}`, path.join(volume, "..data.new"))
  fs.renameSync(path.join(volume, "..data.new"), path.join(volume, "..data"))
}

describe.runIf(isLinux)("a change of what a command reads", () => {
  it.scopedLive("reloads it, again after a change that it cannot work with", () =>
    Effect.gen(function*() {
      const volume = yield* directory
      put(volume, 1, "VERSION=1\n")
      fs.symlinkSync("..data/env", path.join(volume, "env"))
      const port = yield* freePort
      const app = yield* run({
        options: [
          `--listen=127.0.0.1:${port}`,
          `--env-file=${path.join(volume, "env")}`,
          `--reload-on-change=${volume}`,
          ...soon
        ]
      })
      const answer = Effect.map(ask(port), ({ body }) => body)
      const first = yield* ready(app, 1)
      assert.strictEqual(yield* answer, `${first} 1`)

      put(volume, 2, "FAIL=7\n")
      yield* app.waitFor(/Changed: .*; reloading/)
      yield* app.waitFor(/The reload has failed\. .*code 7/)
      assert.strictEqual(yield* answer, `${first} 1`)

      put(volume, 3, "VERSION=3\n")
      const [, generation] = yield* app.waitFor(/generation ([2-9]): process \d+ is ready/, "30 seconds")
      const next = yield* ready(app, Number(generation))
      yield* app.waitFor(/has taken over/, "30 seconds")
      assert.strictEqual(yield* answer, `${next} 3`)
      assert.strictEqual(app.count(/; reloading/), 2)
    }))

  it.scopedLive("cannot be waited for where nothing is", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--reload-on-change", "/nowhere/at/all"] })
      yield* app.waitFor(/^tableflip: --reload-on-change is \/nowhere\/at\/all; it must be a file or a folder .*ENOENT/)
      assert.strictEqual((yield* app.exit).code, 2)
    }))
})
