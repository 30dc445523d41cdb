/**
 * What a command and tableflip say arrives in whole lines, and nobody who reads it slowly holds anything up.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory, pidIn } from "../kit/files.ts"
import { bin } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"
import { commands, ready, run, soon } from "../kit/tableflip.ts"
import { canRun, isRoot } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

/** A tableflip whose standard output and error are one pipe, which the test reads, or does not. */
const onPipe = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const dir = yield* directory
  const file = path.join(dir, "pipe")
  execFileSync("mkfifo", [file])
  const reader = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  const end = fs.openSync(file, fs.constants.O_WRONLY)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, [bin, "run", ...args], { stdio: ["ignore", end, end] })),
    (child) =>
      Effect.sync(() => {
        child.kill("SIGKILL")
        fs.closeSync(reader)
      })
  )
  fs.closeSync(end)
  const fill = () => {
    const filler = fs.openSync(file, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK)
    try {
      for (let size = 0; size < 1024; size++) fs.writeSync(filler, "x".repeat(1024))
    } catch {
      // It is full.
    }
    fs.closeSync(filler)
  }
  let text = ""
  const read = () => {
    const buffer = Buffer.alloc(1024)
    try {
      text += buffer.subarray(0, fs.readSync(reader, buffer)).toString()
    } catch {
      // Nothing is there.
    }
    return text
  }
  return { child, fill, read }
})

const python = (program: string, ...args: ReadonlyArray<string>) => ["--", "python3", "-c", program, ...args]

describe.runIf(isLinux)("the output of tableflip run", () => {
  for (const output of ["inherit", "capture"]) {
    it.scopedLive(`stops nothing when nobody reads it (${output})`, () =>
      Effect.gen(function*() {
        const dir = yield* directory
        const up = path.join(dir, "up")
        const program = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"
        const { child, fill } = yield* onPipe([...soon, "--output", output, ...python(program, up)])
        yield* eventually("the command to be up", () => fs.existsSync(up))
        fill()
        fs.rmSync(up)
        // It has something to say of it before it does it.
        child.kill("SIGHUP")
        yield* eventually("the next generation to be up", () => fs.existsSync(up))
        child.kill("SIGTERM")
        yield* eventually("tableflip to end", () => child.exitCode !== null || child.signalCode !== null)
      }), 60_000)
  }

  it.scopedLive("says in each line which generation and copy it is of, if that is asked for", () =>
    Effect.gen(function*() {
      const app = yield* run({
        options: [...soon, "--output", "prefix", "--workers", "2"],
        command: ["sh", "-c", "echo one; echo two >&2; exec sleep 60"]
      })
      const wait = (generation: number, copy: number, line: string) =>
        app.waitFor(new RegExp(`^\\[generation ${generation}, copy ${copy}\\] ${line}$`))
      for (const copy of [0, 1]) yield* Effect.all([wait(1, copy, "one"), wait(1, copy, "two")])
      yield* app.waitForCount(/is ready/, 2)
      yield* signal(app.pid, "SIGHUP")
      for (const copy of [0, 1]) yield* Effect.all([wait(2, copy, "one"), wait(2, copy, "two")])
    }))

  it.scopedLive("contains the last words of a command for a reader that is slow", () =>
    Effect.gen(function*() {
      const program = "import os\nfor n in range(2000): os.write(1, b'%05d ' % n + b'y' * 94 + b'\\n')"
      const { child, read } = yield* onPipe(["--restart", "never", "--output", "capture", ...python(program)])
      let text = ""
      yield* eventually("the end", () => {
        text = read()
        return child.exitCode !== null && text === read()
      }, { within: "40 seconds" })
      assert.strictEqual(text.split("\n").filter((line) => /^\d{5} y{94}$/.test(line)).length, 2000)
    }), 60_000)

  it.scopedLive("is whole lines, from two streams of several processes into one pipe", () =>
    Effect.gen(function*() {
      const program = `
import os, time
for n in range(500):
    os.write(1, b"out-"); os.write(2, b"err-")
    time.sleep(0.0005)
    os.write(1, b"end\\n"); os.write(2, b"end\\n")
os.write(1, b"all\\n")
time.sleep(60)
`
      const args = [...soon, "--workers", "2", "--output", "capture", ...python(program)]
      const { read } = yield* onPipe(args)
      yield* eventually("all lines", () => read().split("\n").filter((line) => line === "all").length === 2)
      const lines = read().split("\n").filter((line) => !line.includes("tableflip:") && line !== "all" && line !== "")
      assert.deepStrictEqual(lines.filter((line) => line !== "out-end" && line !== "err-end"), [])
      assert.strictEqual(lines.length, 2000)
    }), 60_000)

  it.scopedLive.runIf(canRun("prlimit", "--version"))(
    "leaves no descriptor and no process behind where a reload finds too few descriptors",
    () =>
      Effect.gen(function*() {
        const open = (pid: number) => fs.readdirSync(`/proc/${pid}/fd`).map(Number)
        const copies = ["--listen", "127.0.0.1:0", "--workers", "2", "--replace-at-once", "all"]
        const tableflip = yield* run({ options: [...soon, ...copies], command: ["sleep", "60"] })
        yield* tableflip.waitForCount(/is ready/, 2)
        const before = open(tableflip.pid)
        const firstFree = before.findIndex((_, number) => !before.includes(number))
        // Some are too few for the first step, others for the last one.
        for (const [done, more] of [8, 12, 14, 16, 18, 20, 22].entries()) {
          execFileSync("prlimit", ["--pid", String(tableflip.pid), `--nofile=${firstFree + more}:`])
          yield* signal(tableflip.pid, "SIGHUP")
          yield* tableflip.waitForCount(/The reload has failed|has taken over/, done + 1)
        }
        assert.isAbove(tableflip.count(/The reload has failed/), 1)
        yield* eventually("the rest to be closed", () => open(tableflip.pid).length <= before.length)
        assert.strictEqual(commands(tableflip).length, 2)
      }),
    60_000
  )
})

/** A tableflip that writes to a file on a small disk of its own. */
const onDisk = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const dir = yield* directory
  const script = "mount -t tmpfs -o size=256k tmpfs \"$0\" && exec \"$@\" > \"$0/log\" 2>&1"
  const app = yield* start(undefined, {
    executable: "unshare",
    args: ["-m", "sh", "-c", script, dir, process.execPath, bin, "run", ...args]
  })
  const at = (name: string) => path.join(`/proc/${app.pid}/root`, dir, name)
  yield* eventually("the log", () => fs.existsSync(at("log")), { seen: app.dump })
  const log = fs.openSync(at("log"), "r")
  yield* Effect.addFinalizer(() => Effect.sync(() => fs.closeSync(log)))
  return {
    ...app,
    read: () => {
      const buffer = Buffer.alloc(1024 * 1024)
      return buffer.subarray(0, fs.readSync(log, buffer, 0, buffer.length, 0)).toString()
    },
    /** Takes what room there is. */
    isFull: () => {
      try {
        fs.appendFileSync(at("filler"), "x".repeat(4096))
        return false
      } catch {
        return true
      }
    },
    makeRoom: () => fs.rmSync(at("filler"))
  }
})

describe.runIf(isRoot && canRun("unshare", "-m", "true"))("the log of tableflip run on a disk that is full", () => {
  it.scopedLive(
    "holds nothing up, and goes on in whole lines when there is room, with a word of what was lost",
    () =>
      Effect.gen(function*() {
        const up = path.join(yield* directory, "up")
        const program = `
import os, sys, time
open(sys.argv[1], 'a').write('up\\n')
for n in range(10 ** 5): os.write(1, b'%d %05d ' % (os.getpid(), n) + b'y' * 44 + b'\\n'); time.sleep(0.002)
`
        const disk = yield* onDisk([...soon, "--output", "capture", ...python(program, up)])
        const ups = () => fs.existsSync(up) ? fs.readFileSync(up, "utf8").split("\n").length - 1 : 0
        yield* eventually("the first lines", () => disk.read().includes(" 00010 y"))
        yield* eventually("the disk to be full", disk.isFull)
        yield* signal(disk.pid, "SIGHUP")
        yield* eventually("the next generation", () => ups() === 2, { seen: disk.read })
        yield* eventually("only the next generation", () => commands(disk).length === 1)
        disk.makeRoom()
        yield* eventually("a word of what was lost", () => /\d+ line\(s\) of the output were lost/.test(disk.read()))
        const before = disk.read().length
        yield* eventually("more lines", () => disk.read().length > before + 1_000)
        yield* signal(disk.pid, "SIGTERM")
        yield* disk.exit
        assert.match(disk.read(), /everything has stopped\n$/)
        const lines = disk.read().split("\n").slice(0, -1)
        const isWhole = (line: string) => /^(\d+ \d{5} y{44}|\S+Z (INFO |WARN ) tableflip: .*)$/.test(line)
        const torn = lines.filter((line) => !isWhole(line))
        // The last one that the disk has taken a part of, before and while somebody else took what room there was.
        assert.isAtMost(torn.length, 3, torn.join("\n"))
        const [, pid] = disk.read().match(/generation 2: process (\d+) is told/) ?? assert.fail(disk.read())
        const numbers = lines.flatMap((line) => {
          const [name, number, rest] = line.split(" ")
          return name === pid && rest?.length === 44 ? [Number(number)] : []
        })
        const missing = numbers.at(-1)! + 1 - numbers.length
        const told = [...disk.read().matchAll(/(\d+) line\(s\) of the output were lost/g)]
        assert.isAtLeast(told.reduce((sum, [, count]) => sum + Number(count), 0), missing)
        assert.isAbove(missing, 0)
      }),
    60_000
  )
})

describe.runIf(isLinux)("the PID file of tableflip run", () => {
  it.scopedLive("invites no signal that would end it", () =>
    Effect.gen(function*() {
      for (const name of ["SIGUSR1", "SIGUSR2", "SIGQUIT"] as const) {
        const file = path.join(yield* directory, "pid")
        const handle = yield* run({ options: [...soon, "--pid-file", file], command: ["sleep", "60"] })
        yield* eventually("the PID file", () => {
          if (pidIn(file) !== handle.pid) return false
          process.kill(handle.pid, name)
          return true
        })
        yield* ready(handle, 1)
        assert.isTrue(isAlive(handle.pid), name)
        assert.notInclude(handle.dump(), "Debugger listening")
      }
    }), 60_000)
})
