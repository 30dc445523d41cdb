/**
 * Why a command does not come up, in the words that were typed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { signal } from "../kit/processes.ts"
import { run, soon } from "../kit/tableflip.ts"

const fails = (options: ReadonlyArray<string>, command: ReadonlyArray<string>, ...patterns: ReadonlyArray<RegExp>) =>
  Effect.gen(function*() {
    const app = yield* run({ options: [...soon, ...options], command })
    const { code } = yield* app.exit
    for (const pattern of patterns) yield* app.waitFor(pattern)
    assert.strictEqual(app.count(/setpriv/), 0)
    return code
  })

describe.runIf(isLinux)("tableflip run says", () => {
  it.scopedLive("that the interpreter of a script is missing", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const script = (name: string, content: string) => {
        fs.writeFileSync(path.join(dir, name), content, { mode: 0o755 })
        return [path.join(dir, name)]
      }
      const missing = yield* fails(
        [],
        script("a", "#!/nowhere/ruby -w\n"),
        /a begins with #!\/nowhere\/ruby, which is not/
      )
      assert.strictEqual(missing, 127)
      const crlf = yield* fails([], script("b", "#!/bin/sh\r\nexit\r\n"), /b .* ends with a carriage return \(CRLF\)/)
      assert.strictEqual(crlf, 127)
    }))

  it.scopedLive("that a directory cannot be used", () =>
    fails(["--cwd", "/nowhere"], ["true"], /Could not start true: the directory \/nowhere cannot be used \(/))

  it.scopedLive("which command is too big", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "env")
      fs.writeFileSync(file, `A=${"x".repeat(200_000)}\n`)
      yield* fails(["--env-file", file], ["echo"], /Could not start echo: .*\(E2BIG\)/)
    }))

  it.scopedLive("nothing of two free ports, which are two", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--listen", "0", "--listen", "0", ...soon] })
      yield* app.waitFor(/is ready/)
    }))

  it.scopedLive("in JSON which event a failed reload is, and by which error", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "env")
      fs.writeFileSync(file, "A=1\n")
      const app = yield* run({
        options: ["--log-format", "json", "--env-file", file, "-w", "0.2"],
        command: ["sleep", "60"]
      })
      yield* app.waitFor(/is ready/)
      fs.writeFileSync(file, "A=\"1\n")
      yield* signal(app.pid, "SIGHUP")
      const [line] = yield* app.waitFor(/^\{.*The reload has failed.*$/)
      const { error, event, level } = JSON.parse(line) as Record<string, unknown>
      assert.deepStrictEqual({ error, event, level }, { error: "ReplaceError", event: "ReloadFailed", level: "error" })
    }))
})
