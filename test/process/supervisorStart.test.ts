/**
 * What a command finds of the state in which tableflip was started.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { bin } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { start } from "../kit/processes.ts"
import { soon } from "../kit/tableflip.ts"

const limits = ["python3", "-c", "import resource; print('LIMIT', *resource.getrlimit(resource.RLIMIT_NOFILE))"]

/** Runs it from a shell that does something first. */
const from = (first: string, options: ReadonlyArray<string>, command: ReadonlyArray<string>) =>
  start(undefined, {
    executable: "bash",
    args: [
      "-c",
      `${first}; "$0" "$@" & trap "kill $!" TERM; wait`,
      process.execPath,
      bin,
      "run",
      ...options,
      "--",
      ...command
    ]
  })

describe.runIf(isLinux)("a command", () => {
  for (const sockets of [[], ["--listen", "127.0.0.1:0"]]) {
    it.scopedLive(`has the limit of open files as it was${sockets.length === 0 ? "" : ", with sockets"}`, () =>
      Effect.gen(function*() {
        const app = yield* from("ulimit -S -n 1000; ulimit -H -n 2000", [...sockets, ...soon], limits)
        yield* app.waitFor(/^LIMIT 1000 2000$/)
      }))
  }

  it.scopedLive("has the limit of open files that was asked for", () =>
    Effect.gen(function*() {
      const app = yield* from("ulimit -S -n 1000; ulimit -H -n 2000", ["--open-files", "900", ...soon], limits)
      yield* app.waitFor(/^LIMIT 900 2000$/)
    }))

  it.scopedLive("cannot have more open files than the hard limit, which is said", () =>
    Effect.gen(function*() {
      const app = yield* from("ulimit -S -n 1000; ulimit -H -n 2000", ["--open-files", "2001", ...soon], limits)
      yield* app.waitFor(/^tableflip: --open-files is 2001; it must be at most 2000, the hard limit here/)
      assert.strictEqual(app.count(/^LIMIT|has been started/), 0)
    }))

  it.scopedLive("does not get another argument for one that is not UTF-8", () =>
    Effect.gen(function*() {
      const app = yield* start(undefined, {
        executable: "bash",
        args: ["-c", `exec "$0" "$1" run -w 0.1 -- echo $'caf\\xe9'`, process.execPath, bin]
      })
      yield* app.waitFor(/^tableflip: the argument "caf.*" is not UTF-8/)
      assert.strictEqual((yield* app.exit).code, 2)
    }))

  it.scopedLive("gets variables changed that are not UTF-8, which is said", () =>
    Effect.gen(function*() {
      const app = yield* start(undefined, {
        executable: "bash",
        args: ["-c", `export ODD=$'caf\\xe9'; exec "$0" "$1" run -w 0.1 -- sleep 5`, process.execPath, bin]
      })
      yield* app.waitFor(/gets these variables changed, .*: ODD$/)
    }))
})
