import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as fs from "node:fs"
import * as path from "node:path"
import { vi } from "vitest"
import { layer } from "../../src/Env.ts"
import * as logger from "../../src/internal/cli/logger.ts"
import { forkApart } from "../../src/internal/seam.ts"
import { Env } from "../../src/internal/system/env.ts"
import { directory } from "../kit/files.ts"

const opened = (file: string, flags = "w") =>
  Effect.acquireRelease(
    Effect.sync(() => fs.openSync(file, flags)),
    (descriptor) => Effect.sync(() => fs.closeSync(descriptor))
  )

const logged = (said: Array<string>) => logger.layer("Debug", ({ message }) => void said.push(String(message)))

/** Programs are looked for here alone. */
const withPath = (dir: string) =>
  Effect.acquireRelease(
    Effect.sync(() => vi.stubEnv("PATH", dir)),
    () => Effect.sync(() => vi.unstubAllEnvs())
  )

describe.sequential("a service manager", () => {
  it.scopedLive("is told over its socket, in the order in which it was said", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const file = path.join(yield* directory, "told")
      const tell = yield* env.notifier(Option.some(yield* opened(file)))
      yield* Effect.forEach(["one", "two", "three"], (word) => tell(["READY=1", `STATUS=${word}`]), {
        concurrency: "unbounded"
      })
      assert.strictEqual(fs.readFileSync(file, "utf8"), "READY=1\nSTATUS=oneREADY=1\nSTATUS=twoREADY=1\nSTATUS=three")
    }).pipe(Effect.provide(layer)))

  it.scopedLive("that takes nothing is complained of once, and again when it had taken something since", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const said: Array<string> = []
      const dir = yield* directory
      fs.writeFileSync(path.join(dir, "file"), "")
      // Open for reading: nothing can be written there.
      const tell = yield* env.notifier(Option.some(yield* opened(path.join(dir, "file"), "r")))
      yield* Effect.provide(Effect.zipRight(tell(["READY=1"]), tell(["STOPPING=1"])), logged(said))
      assert.lengthOf(said, 1)
      assert.match(said[0]!, /^The service manager could not be told: EBADF/)
    }).pipe(Effect.provide(layer)))

  it.scopedLive("is told by its program where there is no socket", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const dir = yield* directory
      const told = path.join(dir, "told")
      fs.writeFileSync(path.join(dir, "systemd-notify"), `#!/bin/sh\necho "$@" >> ${told}\n`, { mode: 0o755 })
      yield* withPath(dir)
      const tell = yield* env.notifier(Option.none())
      yield* tell(["READY=1", "STATUS=Serving"])
      yield* tell(["STOPPING=1"])
      assert.strictEqual(fs.readFileSync(told, "utf8"), "READY=1 STATUS=Serving\nSTOPPING=1\n")
    }).pipe(Effect.provide(layer)))

  it.scopedLive("that cannot be told by its program is complained of in the words of that, or with a way out", () => {
    const said: Array<string> = []
    return Effect.gen(function*() {
      const env = yield* Env
      const dir = yield* directory
      yield* withPath(dir)
      const tell = yield* env.notifier(Option.none())
      yield* tell(["READY=1"])
      assert.match(said[0]!, /there is no program systemd-notify to send it anything; open the socket .*OpenFile=/)
      const program = path.join(dir, "systemd-notify")
      fs.writeFileSync(program, "#!/bin/sh\necho 'no such manager' >&2\nexit 1\n", { mode: 0o755 })
      const other = yield* env.notifier(Option.none())
      yield* other(["READY=1"])
      assert.deepStrictEqual(said.slice(1), ["The service manager could not be told: no such manager"])
    }).pipe(Effect.provide(layer), Effect.provide(logged(said)))
  })

  it.scopedLive("has been told the last words when the scope is closed", () =>
    Effect.gen(function*() {
      const env = yield* Env
      const dir = yield* directory
      const told = path.join(dir, "told")
      const script = `#!/bin/sh\nPATH=/usr/bin:/bin sleep 0.2\necho "$@" > ${told}\n`
      fs.writeFileSync(path.join(dir, "systemd-notify"), script, { mode: 0o755 })
      yield* withPath(dir)
      yield* Effect.scoped(Effect.gen(function*() {
        const tell = yield* env.notifier(Option.none())
        yield* forkApart(tell(["STOPPING=1"]))
        yield* Effect.repeat(Effect.yieldNow(), { times: 5 })
      }))
      assert.strictEqual(fs.readFileSync(told, "utf8"), "STOPPING=1\n")
    }).pipe(Effect.provide(layer)))
})
