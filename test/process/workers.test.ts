/**
 * Pools of real processes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as tls from "node:tls"
import { certificate } from "../kit/certificate.ts"
import { ask, load } from "../kit/clients.ts"
import { descriptorsAtRest, sameDescriptors } from "../kit/descriptors.ts"
import { directory, pidIn, waitForPid } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { children, isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

interface PoolOptions {
  readonly pool?: object
  readonly behaviour?: object
  readonly secret?: string
}

interface Worker {
  readonly pid: number
  readonly index: number
  readonly generation: number
  readonly restarts: number
  readonly port: number
  readonly secret: string
}

const workersOf = (program: Handle): ReadonlyArray<Worker> =>
  program.lines().flatMap((line) => {
    const match = /^WORKER (\d+) (\d+) (\d+) (\d+) (\d+) (\S+)/.exec(line)
    if (match === null) return []
    const [pid, index, generation, restarts, port] = match.slice(1, 6).map(Number) as [
      number,
      number,
      number,
      number,
      number
    ]
    return [{ pid, index, generation, restarts, port, secret: match[6]! }]
  })

const startPool = (options: PoolOptions = {}, more: Parameters<typeof start>[1] = {}) =>
  Effect.gen(function*() {
    const program = yield* start(fixture("workers.mjs"), { ...more, app: options })
    const primary = yield* program.up(1)
    const workers = workersOf(program)
    return { program, primary, workers, port: workers[0]!.port }
  })

const command = (primary: { readonly port: number }, path: string) =>
  Effect.map(ask(primary.port, { path, within: 60_000 }), ({ body }) => body)

interface Row {
  readonly name: string
  readonly index: number
  readonly pid: number
  readonly state: string
  readonly restarts: number
}

const status = (primary: { readonly port: number }) =>
  Effect.map(command(primary, "/status"), (body) => JSON.parse(body) as ReadonlyArray<Row>)

const pids = (all: ReadonlyArray<{ readonly pid: number }>) => all.map(({ pid }) => pid)

const released = (program: Handle, pid: number) => program.lines().filter((line) => line.startsWith(`RELEASED ${pid} `))

/** A client whose connection the system has made, whether anybody accepts it or not. */
const knock = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => net.connect({ port, host: "127.0.0.1" })),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(
    Effect.tap((socket) =>
      eventually("a connection", () => !socket.connecting && !socket.destroyed, { within: "10 seconds" })
    )
  )

describe.runIf(isLinux)("a pool", () => {
  it.scopedLive("told to stop, resets none of those who have been connected", () =>
    Effect.gen(function*() {
      const { port, primary, program } = yield* startPool()
      const clients = yield* load(port, 30)
      yield* eventually("answers", () => [...clients.answers.values()].reduce((sum, count) => sum + count, 0) > 200)
      yield* signal(primary.pid, "SIGTERM")
      assert.strictEqual((yield* program.exit).code, 0)
      yield* clients.stop
      assert.deepStrictEqual(clients.failures.filter((failure) => !failure.includes("ECONNREFUSED")), [])
    }))

  it.scopedLive("serves by its workers only, and ends with all of them", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const pidFile = path.join(dir, "pool.pid")
      const { port, primary, program, workers } = yield* startPool({ pool: { size: 3, pidFile } })
      assert.strictEqual(pidIn(pidFile), primary.pid)
      assert.strictEqual(primary.pid, program.pid)
      assert.sameMembers(pids(children(primary.pid)), pids(workers))
      const clients = yield* load(port, 6)
      yield* eventually("an answer of every worker", () => workers.every(({ pid }) => clients.answers.has(pid)))
      yield* clients.stop
      assert.isFalse(clients.answers.has(primary.pid))
      yield* signal(primary.pid, "SIGTERM")
      assert.deepStrictEqual(yield* program.exit, { code: 0, signal: null })
      assert.deepStrictEqual(clients.failures, [])
      for (const { pid } of workers) {
        assert.deepStrictEqual(released(program, pid), [`RELEASED ${pid} worker SIGTERM`])
        assert.strictEqual(program.count(new RegExp(`^EXIT ${pid} 0`)), 1)
      }
      assert.isFalse(fs.existsSync(pidFile))
      const lines = program.lines()
      const mainReleased = lines.findIndex((line) => line.startsWith("MAIN released"))
      assert.isFalse(
        lines.slice(mainReleased).some((line) => line.startsWith("RELEASED")),
        "the main context outlives the workers"
      )
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("that cannot start ends with the exit code of the worker", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const pidFile = path.join(dir, "pool.pid")
      const program = yield* start(fixture("workers.mjs"), {
        app: { pool: { pidFile }, behaviour: { failIfExists: dir } }
      })
      assert.deepStrictEqual(yield* program.exit, { code: 7, signal: null })
      yield* program.waitFor(/^FAILED \d+ ProcessStartError .*worker \d did not come up.*exited with code 7/)
      yield* program.waitFor(/^MAIN released/)
      assert.isFalse(fs.existsSync(pidFile))
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("starts a worker that was killed again, and loses only what that worker was doing", () =>
    Effect.gen(function*() {
      const { port, primary, program, workers: [first, second] } = yield* startPool()
      yield* signal(first!.pid, "SIGKILL")
      const again = yield* eventually("a new worker", () => workersOf(program).find(({ restarts }) => restarts === 1))
      assert.strictEqual(again.index, first!.index)
      yield* eventually("its place", () => program.count(/^EVENT \d+ Ready .*/) === 3)
      const rows = yield* status(primary)
      assert.sameDeepMembers(
        rows.map(({ index, pid, restarts, state }) => [index, pid, restarts, state]),
        [[again.index, again.pid, 1, "serving"], [second!.index, second!.pid, 0, "serving"]]
      )
      assert.isTrue(pids(rows).includes((yield* ask(port)).pid))
    }))

  it.scopedLive("recovers when all of its workers are killed at once, and connections wait meanwhile", () =>
    Effect.gen(function*() {
      const { port, program, workers } = yield* startPool({ pool: { size: 3 } })
      for (const { pid } of workers) process.kill(pid, "SIGKILL")
      // Nobody accepts, but the socket is open in the primary.
      const answers = yield* Effect.all([ask(port), ask(port), ask(port)], { concurrency: "unbounded" })
      for (const { pid } of answers) assert.isFalse(pids(workers).includes(pid))
      yield* eventually("three new workers", () => workersOf(program).length === 6)
      assert.deepStrictEqual(workersOf(program).slice(3).map(({ restarts }) => restarts), [1, 1, 1])
    }))

  it.scopedLive("starts a worker again whose event loop stands still", () =>
    Effect.gen(function*() {
      const { port, program } = yield* startPool({ pool: { heartbeat: { timeout: 2_000 } } })
      yield* Effect.fork(Effect.exit(ask(port, { path: "/?block" })))
      const stuck = Number((yield* program.waitFor(/^BLOCKED (\d+)/))[1])
      yield* program.waitFor(new RegExp(`^EVENT \\d+ Unresponsive .*"pid":${stuck}`))
      yield* program.waitFor(
        new RegExp(`The event loop of the worker \\d \\(process ${stuck}\\) has stood still for 2s`)
      )
      const again = yield* eventually("a new worker", () => workersOf(program).find(({ restarts }) => restarts === 1))
      yield* eventually("its place", () => program.count(/^EVENT \d+ Ready .*/) === 3)
      assert.strictEqual(program.count(/^EVENT \d+ Unresponsive/), 1)
      assert.include(program.alive(), again.pid)
    }))

  it.scopedLive("that is told to stop again kills a worker that cannot hear it", () =>
    Effect.gen(function*() {
      const { port, primary, program } = yield* startPool({
        pool: { stop: { timeout: "10 minutes" }, heartbeat: false }
      })
      yield* Effect.fork(Effect.exit(ask(port, { path: "/?block", within: 60_000 })))
      yield* program.waitFor(/^BLOCKED \d+/)
      yield* signal(primary.pid, "SIGTERM")
      yield* eventually("the end of the other one", () => program.count(/^RELEASED/) === 1)
      yield* Effect.sleep(1_500)
      yield* signal(primary.pid, "SIGTERM")
      assert.deepStrictEqual(yield* program.exit, { code: 0, signal: null })
      yield* program.waitFor(/1 process\(es\) had to be killed/)
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("ends when a worker cannot be kept up", () =>
    Effect.gen(function*() {
      const { program, workers: [first] } = yield* startPool({ pool: { recurs: 0 } })
      yield* signal(first!.pid, "SIGKILL")
      yield* program.waitFor(/^FAILED \d+ RestartsExhaustedError .*was killed by SIGKILL and is not started again/)
      assert.deepStrictEqual(yield* program.exit, { code: 1, signal: null })
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("replaces its workers under load without a failure, and leaves no descriptor behind", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      fs.writeFileSync(gate, "")
      const { port, primary, program, workers } = yield* startPool({ behaviour: { extra: true, gate } })
      yield* Effect.exit(command(primary, "/replace"))
      yield* status(primary)
      const before = yield* descriptorsAtRest(primary.pid)
      const clients = yield* load(port, 4)
      const waiting = () => program.lines().filter((line) => line.startsWith("WAITING ")).length
      const answersOf = (pid: number) => clients.answers.get(pid) ?? 0
      for (let roll = 0; roll < 3; roll++) {
        const older = pids(workersOf(program).filter(({ generation }) => generation === roll + 2))
        fs.rmSync(gate)
        const replacing = yield* Effect.fork(command(primary, "/replace"))
        yield* eventually("a new worker that is not ready", () => waiting() > roll)
        const soFar = older.map(answersOf)
        yield* eventually(
          "answers of all who are to be replaced, until there is somebody in their place",
          () => older.every((pid, index) => answersOf(pid) > soFar[index]! + 5)
        )
        fs.writeFileSync(gate, "")
        assert.strictEqual(yield* Fiber.join(replacing), "replaced")
      }
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      yield* sameDescriptors(primary.pid, before)
      const newest = workersOf(program).filter(({ generation }) => generation === 5)
      assert.strictEqual(newest.length, 2)
      assert.includeMembers(pids(yield* status(primary)), pids(newest))
      for (const { pid } of workers) assert.deepStrictEqual(released(program, pid), [`RELEASED ${pid} worker -`])
    }))

  it.scopedLive("that has replaced its workers has connections wait as before", () =>
    Effect.gen(function*() {
      const { port, primary, program, workers } = yield* startPool()
      assert.strictEqual(yield* command(primary, "/replace"), "replaced")
      const newest = workersOf(program).filter(({ generation }) => generation === 2)
      yield* onlyAlive(program, [program.pid, ...pids(newest)])
      assert.strictEqual(newest.length, workers.length)
      for (const { pid } of newest) yield* signal(pid, "SIGSTOP")
      const waiting = yield* Effect.fork(
        Effect.forEach(Array(20).keys(), () => knock(port), { concurrency: "unbounded" })
      )
      yield* Effect.ensuring(
        Fiber.join(waiting),
        Effect.forEach(newest, ({ pid }) => signal(pid, "SIGCONT"))
      )
    }))

  it.scopedLive("keeps its workers when the new ones do not come up", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const broken = path.join(dir, "broken")
      const { port, primary, program, workers } = yield* startPool({ behaviour: { failIfExists: broken } })
      fs.writeFileSync(broken, "")
      assert.match(
        yield* command(primary, "/replace"),
        /^ReplaceError Replaced 0 process\(es\) and kept 2\. The worker 0 did not come up\. .*exited with code 7/
      )
      assert.sameMembers(pids(yield* status(primary)), pids(workers))
      assert.isTrue(pids(workers).includes((yield* ask(port)).pid))
      yield* onlyAlive(program, [primary.pid, ...pids(workers)])
    }))

  it.scopedLive("changes its size", () =>
    Effect.gen(function*() {
      const { port, primary, program } = yield* startPool({ pool: { size: 1 } })
      const clients = yield* load(port, 4)
      assert.strictEqual(yield* command(primary, "/resize/4"), "resized to 4")
      assert.strictEqual((yield* status(primary)).length, 4)
      assert.strictEqual(yield* command(primary, "/resize/2"), "resized to 2")
      const rows = yield* status(primary)
      assert.deepStrictEqual(rows.map(({ index }) => index), [0, 1])
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      yield* onlyAlive(program, [primary.pid, ...pids(rows)])
    }))

  it.scopedLive("kills workers that do not finish, and tells how many", () =>
    Effect.gen(function*() {
      const { program, primary } = yield* startPool({
        pool: { stop: { timeout: 500 } },
        behaviour: { stuck: true }
      })
      yield* signal(primary.pid, "SIGTERM")
      assert.strictEqual((yield* program.exit).code, 0)
      yield* program.waitFor(/2 process\(es\) had to be killed/)
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("shares a Unix path, which stays until the last process has ended", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const socket = path.join(dir, "s")
      const { primary, program, workers } = yield* startPool({ behaviour: { path: socket, extra: true } })
      const clients = yield* load(socket, 4)
      assert.strictEqual(fs.statSync(socket).mode & 0o777, 0o660)
      assert.strictEqual(yield* command(primary, "/replace"), "replaced")
      yield* signal(primary.pid, "SIGHUP")
      const next = yield* program.up(2)
      yield* program.waitFor(new RegExp(`^EXIT ${primary.pid} 0`))
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.isAbove(clients.answers.size, workers.length)
      yield* signal(next.pid, "SIGTERM")
      yield* eventually("the end of all", () => program.alive().length === 0, { seen: program.dump })
      assert.isFalse(fs.existsSync(socket))
    }))

  it.scopedLive("whose workers bind an address by themselves says what to do", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const program = yield* start(fixture("workers.mjs"), { app: { behaviour: { alone: port } } })
      yield* program.waitFor(
        /^FAILED \d+ ListenError AddressInUse .*Name the address in the option listen of Workers.launch/
      )
      assert.strictEqual((yield* program.exit).code, 1)
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("hastens its workers when it is told to stop again", () =>
    Effect.gen(function*() {
      const { port, primary, program } = yield* startPool()
      const slow = yield* Effect.fork(Effect.either(ask(port, { path: "/?slow=20000", within: 30_000 })))
      yield* program.waitFor(/^SERVING/)
      yield* signal(primary.pid, "SIGTERM")
      yield* program.waitForCount(/^EVENT \d+ Exited/, 1)
      yield* Effect.sleep("1200 millis")
      yield* signal(primary.pid, "SIGTERM")
      assert.strictEqual((yield* program.exit).code, 0)
      assert.isTrue(Either.isLeft(yield* slow))
      yield* onlyAlive(program, [])
    }))

  it.scopedLive("tells its workers a secret that no one else can read", () =>
    Effect.gen(function*() {
      const secret = "not-for-everyone"
      const program = yield* start(fixture("workers.mjs"), { app: {}, env: { SECRET: secret } })
      yield* program.up(1)
      const { program: other, workers } = yield* startPool({ secret: "from-the-primary" })
      assert.isAbove(workers.length, 0, other.dump())
      for (const { pid, secret } of workers) {
        assert.strictEqual(secret, "from-the-primary")
        const open = ["cmdline", "environ"].map((file) => fs.readFileSync(`/proc/${pid}/${file}`, "latin1"))
        // The options of the fixture are in its environment, and the secret is a part of them.
        assert.notInclude(open[0], secret)
        assert.strictEqual(open[1]!.split("from-the-primary").length, 2)
      }
    }))
})

describe.runIf(isLinux)("an upgrade of the primary", () => {
  it.scopedLive("brings a new pool, and loses nothing", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const pidFile = path.join(dir, "pool.pid")
      const { port, primary, program, workers } = yield* startPool({ pool: { pidFile }, behaviour: { extra: true } })
      const clients = yield* load(port, 4)
      yield* signal(primary.pid, "SIGHUP")
      const next = yield* program.up(2)
      yield* waitForPid(pidFile, next.pid)
      yield* program.waitFor(new RegExp(`^EXIT ${primary.pid} 0`))
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      const newest = workersOf(program).filter(({ generation }) => generation === 2)
      assert.strictEqual(newest.length, 2)
      for (const { pid } of workers) assert.deepStrictEqual(released(program, pid), [`RELEASED ${pid} worker -`])
      const extras = program.lines().flatMap((line) => /^EXTRA (\d+) extra 2/.exec(line)?.slice(1).map(Number) ?? [])
      yield* onlyAlive(program, [next.pid, ...pids(newest), ...extras])
      assert.isTrue(pids(newest).includes((yield* ask(port)).pid))
    }))

  it.scopedLive("that fails with a worker leaves the old pool as it was", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const pidFile = path.join(dir, "pool.pid")
      const broken = path.join(dir, "broken")
      const { port, primary, program, workers } = yield* startPool({
        pool: { pidFile },
        behaviour: { failIfExists: broken }
      })
      const before = yield* descriptorsAtRest(primary.pid)
      fs.writeFileSync(broken, "")
      yield* signal(primary.pid, "SIGHUP")
      yield* program.waitFor(new RegExp(`^UPGRADEFAILED ${primary.pid} ChildExitedError`))
      assert.strictEqual(pidIn(pidFile), primary.pid)
      yield* onlyAlive(program, [primary.pid, ...pids(workers)])
      yield* sameDescriptors(primary.pid, before)
      fs.unlinkSync(broken)
      yield* signal(primary.pid, "SIGHUP")
      yield* program.up(2)
      yield* program.waitFor(new RegExp(`^EXIT ${primary.pid} 0`))
      assert.isFalse(pids(workers).includes((yield* ask(port)).pid))
    }))

  it.scopedLive("finishes what the old workers serve", () =>
    Effect.gen(function*() {
      const { port, primary, program, workers } = yield* startPool()
      const slow = yield* Effect.fork(ask(port, { path: "/?slow=1500" }))
      yield* program.waitFor(/^SERVING/)
      yield* signal(primary.pid, "SIGHUP")
      const next = yield* program.up(2)
      assert.isTrue(pids(workers).includes((yield* Fiber.join(slow)).pid))
      yield* program.waitFor(new RegExp(`^EXIT ${primary.pid} 0`))
      assert.strictEqual(next.generation, 2)
    }))

  it.scopedLive("keeps the sessions of TLS, at every worker", () =>
    Effect.gen(function*() {
      const { port, primary, program } = yield* startPool({ behaviour: { certificate } })
      const session = yield* connect(port, undefined)
      for (let time = 0; time < 4; time++) assert.isTrue((yield* connect(port, session.ticket)).reused)
      yield* signal(primary.pid, "SIGHUP")
      yield* program.up(2)
      yield* program.waitFor(new RegExp(`^EXIT ${primary.pid} 0`))
      assert.isTrue((yield* connect(port, session.ticket)).reused)
    }))
})

const connect = (port: number, session: Buffer | undefined) =>
  Effect.async<{ readonly reused: boolean; readonly ticket: Buffer }, Error>((resume) => {
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      maxVersion: "TLSv1.2",
      ...session === undefined ? {} : { session }
    })
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("secureConnect", () => {
      resume(Effect.succeed({ reused: socket.isSessionReused(), ticket: socket.getSession()! }))
      socket.destroy()
    })
  })

describe.runIf(isLinux)("when the primary is killed", () => {
  it.scopedLive("its workers finish what they serve and end", () =>
    Effect.gen(function*() {
      const { port, primary, program, workers } = yield* startPool({ behaviour: { extra: true } })
      const slow = yield* Effect.fork(ask(port, { path: "/?slow=1000" }))
      yield* program.waitFor(/^SERVING/)
      yield* signal(primary.pid, "SIGKILL")
      assert.isTrue(pids(workers).includes((yield* Fiber.join(slow)).pid))
      yield* eventually("the end of all", () => program.alive().length === 0, { seen: program.dump })
      for (const { pid } of workers) assert.strictEqual(program.count(new RegExp(`^EXIT ${pid} 0`)), 1)
    }))

  it.scopedLive("workers that are still starting end too", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const program = yield* start(fixture("workers.mjs"), {
        app: { behaviour: { gate: path.join(dir, "never") } }
      })
      yield* program.waitForCount(/^WAITING/, 2)
      yield* signal(program.pid, "SIGKILL")
      yield* eventually("the end of all", () => program.alive().length === 0, { seen: program.dump })
    }))

  it.scopedLive("no worker is left under a subreaper, where nobody's parent is process 1", () =>
    Effect.gen(function*() {
      const code = `
import ctypes, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = subprocess.Popen(sys.argv[1:])
while True:
    try:
        pid, status = os.wait()
        print(f"REAPED {pid}\\n", end="", flush=True)
    except ChildProcessError:
        break
print("NOBODY LEFT", flush=True)
`
      const program = yield* start(undefined, {
        executable: "python3",
        args: ["-c", code, process.execPath, fixture("workers.mjs")],
        app: {}
      })
      const primary = yield* program.up(1)
      const workers = workersOf(program)
      yield* signal(primary.pid, "SIGKILL")
      yield* program.waitFor(/^NOBODY LEFT/)
      for (const { pid } of [primary, ...workers]) {
        assert.strictEqual(program.count(new RegExp(`^REAPED ${pid}$`)), 1, program.dump())
      }
    }))
})

describe.runIf(isLinux)("a signal to the whole group", () => {
  const group = (program: Handle, name: NodeJS.Signals) => Effect.sync(() => void process.kill(-program.pid, name))

  for (const name of ["SIGINT", "SIGTERM"] as const) {
    it.scopedLive(`${name} stops every process once`, () =>
      Effect.gen(function*() {
        const { program, workers } = yield* startPool({ pool: { size: 3 } }, { detached: true })
        yield* group(program, name)
        assert.deepStrictEqual(yield* program.exit, { code: 0, signal: null })
        yield* onlyAlive(program, [])
        for (const { pid } of workers) {
          assert.deepStrictEqual(released(program, pid), [`RELEASED ${pid} worker ${name}`])
          assert.strictEqual(program.count(new RegExp(`^EXIT ${pid} 0`)), 1)
        }
        assert.strictEqual(workersOf(program).length, 3, "none was started again")
        assert.strictEqual(program.count(/ (WARN|ERROR|FATAL) |^FAILED/), 0, program.dump())
      }))
  }

  it.scopedLive("SIGHUP upgrades once", () =>
    Effect.gen(function*() {
      const { program } = yield* startPool({}, { detached: true })
      yield* group(program, "SIGHUP")
      yield* program.up(2)
      yield* program.waitFor(new RegExp(`^EXIT ${program.pid} 0`))
      assert.strictEqual(program.count(/Started process/), 1)
      assert.strictEqual(workersOf(program).length, 4)
      assert.strictEqual(program.count(/ (WARN|ERROR|FATAL) |^FAILED/), 0, program.dump())
    }))

  it.scopedLive("Ctrl-C in a terminal gives the prompt back when all have ended", () =>
    Effect.gen(function*() {
      const code = `
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""
while b"UP " not in seen:
    seen += os.read(terminal, 4096)
os.write(terminal, b"\\x03")
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more: break
    seen += more
_, status = os.waitpid(pid, 0)
sys.stdout.write(seen.decode().replace("\\r", ""))
print("STATUS", status, flush=True)
`
      const program = yield* start(undefined, {
        executable: "python3",
        args: ["-c", code, process.execPath, fixture("workers.mjs")],
        app: {}
      })
      yield* program.waitFor(/^STATUS 0/)
      assert.strictEqual(program.count(/^RELEASED \d+ worker SIGINT/), 2, program.dump())
      assert.strictEqual(program.count(/^EXIT \d+ 0/), 3)
      assert.strictEqual(program.count(/ (WARN|ERROR|FATAL) |^FAILED/), 0, program.dump())
      yield* onlyAlive(program, [])
    }))
})

describe.runIf(isLinux)("work that ends", () => {
  it.scopedLive("ends the pool, which tells how each process has ended", () =>
    Effect.gen(function*() {
      const program = yield* start(fixture("workers.mjs"), {
        app: { pool: { size: 3 }, behaviour: { work: true, failing: 1 } }
      })
      const [, text] = yield* program.waitFor(/^EXITS (.*)/)
      const exits: ReadonlyArray<{ index: number; status: object }> = JSON.parse(text!)
      assert.sameDeepMembers(
        exits.map(({ index, status }): object => ({ index, ...status })),
        [
          { index: 0, _tag: "Exited", code: 0 },
          { index: 1, _tag: "Exited", code: 9 },
          { index: 2, _tag: "Exited", code: 0 }
        ]
      )
      assert.deepStrictEqual(yield* program.exit, { code: 0, signal: null })
      assert.strictEqual(program.count(/^WORKED/), 3)
    }))
})
