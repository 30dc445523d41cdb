/**
 * A generation is all of its processes, and its log a pipe that breaks.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { signal } from "../kit/processes.ts"
import { ready, run, soon } from "../kit/tableflip.ts"
import { eventually } from "../kit/waiting.ts"

/** A server that forks before it accepts, in the manner of gunicorn. Its children outlive it: nobody tells them. */
const prefork = (rest: string) => [
  "python3",
  "-u",
  "-c",
  `
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_DFL)
child = os.fork()
if child == 0:
${rest.split("\n").map((line) => `    ${line}`).join("\n")}
    print("CHILD", os.getpid(), flush=True)
    while True: time.sleep(60)
while True: time.sleep(60)
`
]
const deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"

describe.skipIf(!isLinux)("a generation", () => {
  it.scopedLive("that is told to stop takes the processes along that it has started", () =>
    Effect.gen(function*() {
      const handle = yield* run({ command: prefork("pass"), options: soon })
      const [, first] = yield* handle.waitFor(/^CHILD (\d+)$/)
      yield* ready(handle, 1)
      yield* signal(handle.pid, "SIGHUP")
      yield* ready(handle, 2)
      yield* eventually("the child of the old generation to be gone", () => !isAlive(Number(first)))
      yield* handle.waitFor(new RegExp(`and left process ${first}`))
    }), 60_000)

  it.scopedLive(
    "whose processes do not listen is killed as a whole before everything has stopped",
    () =>
      Effect.gen(function*() {
        const handle = yield* run({ command: prefork(deaf), options: [...soon, "--stop-timeout", "0.5"] })
        const [, child] = yield* handle.waitFor(/^CHILD (\d+)$/)
        yield* ready(handle, 1)
        yield* signal(handle.pid, "SIGTERM")
        yield* handle.waitFor(/everything has stopped/)
        assert.isFalse(isAlive(Number(child)), "it lived on")
      }),
    60_000
  )

  it.scopedLive(
    "is killed as a whole, a session that a process of it has made for itself too, by a second SIGTERM",
    () =>
      Effect.gen(function*() {
        const command = prefork(`${deaf}\nos.setsid()`)
        const handle = yield* run({
          command: [...command.slice(0, 3), command[3]!.replace("SIG_DFL", "SIG_IGN")],
          options: soon
        })
        const [, child] = yield* handle.waitFor(/^CHILD (\d+)$/)
        yield* ready(handle, 1)
        yield* signal(handle.pid, "SIGTERM")
        yield* handle.waitFor(/SIGTERM: stopping/)
        yield* signal(handle.pid, "SIGTERM")
        yield* handle.waitFor(/everything has stopped/)
        assert.isFalse(isAlive(Number(child)), "it lived on")
      }),
    60_000
  )

  it.scopedLive("is not in the process group of tableflip", () =>
    Effect.gen(function*() {
      const handle = yield* run({ command: prefork("pass"), options: soon })
      const pid = yield* ready(handle, 1)
      const groupOf = (pid: number) => fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[2]
      assert.notStrictEqual(groupOf(pid), groupOf(handle.pid))
    }), 60_000)

  it.scopedLive("is told when tableflip is killed that nobody reads its output", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const file = path.join(dir, "told")
      const handle = yield* run({
        options: soon,
        command: [
          "python3",
          "-u",
          "-c",
          `
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    while True:
        os.write(1, b"x" * 1000 + b"\\n")
        time.sleep(0.001)
except BrokenPipeError:
    open(sys.argv[1], "w").write("told")
`,
          file
        ]
      })
      yield* handle.waitFor(/^xxx/)
      yield* signal(handle.pid, "SIGKILL")
      yield* eventually("the command to be told", () => fs.existsSync(file))
    }), 60_000)
})
