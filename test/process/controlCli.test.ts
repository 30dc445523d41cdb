/**
 * The commands that ask at a control socket: what they print, and the exit code by which a script knows how it went.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { status as statusAt } from "../kit/control.ts"
import { controlled, slowRequest } from "../kit/controlled.ts"
import { deploy, directory, goodVersion } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { until } from "../kit/waiting.ts"

interface Done {
  readonly code: number | null
  readonly out: string
  readonly error: string
}

/** Runs the command to its end. */
const tableflip = (socket: string | undefined, ...args: ReadonlyArray<string>): Effect.Effect<Done> =>
  Effect.async((resume) => {
    const { TABLEFLIP_CONTROL_SOCKET: _, ...env } = process.env
    const child = spawn(process.execPath, [bin, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: socket === undefined ? env : { ...env, TABLEFLIP_CONTROL_SOCKET: socket }
    })
    let out = ""
    let error = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      error += text
    })
    child.on("close", (code) => resume(Effect.succeed({ code, out, error })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const operated = (upgrader?: object) =>
  Effect.map(controlled(upgrader), (all) => ({
    ...all,
    ours: (...args: ReadonlyArray<string>) => tableflip(all.socket, ...args)
  }))

/** Somebody else's server at a path. */
const listening = (at: string, onConnection: (socket: net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.async<net.Server>((resume) => {
      const server = net.createServer((socket) => onConnection(socket.on("error", () => {}))).listen(at, () =>
        resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => server.close())
  )

describe.runIf(isLinux)("tableflip as a client", () => {
  it.scopedLive("prints the status, for people and for programs", () =>
    Effect.gen(function*() {
      const { ours, socket, up } = yield* operated()
      const shown = yield* ours("status")
      assert.strictEqual(shown.code, 0)
      assert.match(shown.out, /^state +serving for \d+ s$/m)
      assert.match(shown.out, new RegExp(`^process +${up.pid}, upgrader, `, "m"))
      assert.match(shown.out, /^last upgrade +none$/m)
      const json = yield* tableflip(undefined, "status", "--json", "--control", socket)
      assert.deepInclude(JSON.parse(json.out), { protocol: 1, pid: up.pid, generation: 1, state: "serving" })
    }))

  it.scopedLive("reloads, tells what happens, and waits for the end of the old process", () =>
    Effect.gen(function*() {
      const { app, ours, up } = yield* operated()
      const slow = yield* slowRequest(up.port, 4_000)
      yield* app.waitFor(/^SERVING/)
      const { code, error, out } = yield* ours("reload", "--wait", "ended")
      assert.strictEqual(code, 0, error)
      assert.isFalse(isAlive(up.pid))
      const next = yield* app.up(2)
      assert.include(out, `reloaded: generation 2 serves, process ${next.pid} (ready in `)
      assert.include(out, `process ${up.pid} has ended`)
      assert.include(error, `started process ${next.pid} as generation 2`)
      assert.include(error, `process ${up.pid} is draining 1 connection\n`)
      assert.isTrue(Either.isRight(yield* slow))
      const json = yield* ours("reload", "--json", "--wait", "drained")
      assert.strictEqual(json.error, "")
      assert.deepInclude(JSON.parse(json.out), { outcome: "upgraded", generation: 3 })
    }))

  it.scopedLive("fails with the reason where the new release fails, and the old one serves", () =>
    Effect.gen(function*() {
      const { ours, program, up } = yield* operated({ upgradeTimeout: 500 })
      yield* deploy(program, `process.exit(7)`)
      const failed = yield* ours("reload")
      assert.deepStrictEqual([failed.code, failed.out], [1, ""])
      assert.match(failed.error, /^tableflip: The new process \d+ exited with code 7/m)
      assert.include((yield* ours("status")).out, "failed, ")
      yield* deploy(program, `setInterval(() => {}, 1000)`)
      const json = yield* ours("reload", "--json")
      assert.deepStrictEqual([json.code, JSON.parse(json.out).error._tag], [1, "UpgradeTimeoutError"])
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))

  it.scopedLive("asks twelve times at once: one reload is done, eleven are refused", () =>
    Effect.gen(function*() {
      const { ours, socket } = yield* operated()
      const all = yield* Effect.forEach(Array.from({ length: 12 }), () => ours("reload"), { concurrency: "unbounded" })
      // On a machine that is this busy one may ask when the new process is there, and be refused because the old one is too.
      const codes = all.map(({ code }) => code)
      assert.deepStrictEqual(codes.filter((code) => code !== 0 && code !== 3), [])
      assert.strictEqual(codes.filter((code) => code === 0).length + 1, (yield* statusAt(socket)).generation)
    }))

  it.scopedLive("is refused while the old process drains, and with --retry asks until it is not", () =>
    Effect.gen(function*() {
      const { app, ours, socket, up } = yield* operated()
      const slow = yield* slowRequest(up.port, 2_500)
      yield* app.waitFor(/^SERVING/)
      assert.strictEqual((yield* ours("reload")).code, 0)
      const refused = yield* ours("reload")
      assert.strictEqual(refused.code, 3)
      assert.strictEqual((yield* ours("reload", "--retry", "30")).code, 0)
      assert.strictEqual((yield* statusAt(socket)).generation, 3)
      yield* slow
    }))

  it.scopedLive("finds out what came of a reload whose process was killed meanwhile", () =>
    Effect.gen(function*() {
      const { app, dir, ours, program, up } = yield* operated()
      const gate = path.join(dir, "gate")
      yield* deploy(
        program,
        `process.env.APP = JSON.stringify({ ...JSON.parse(process.env.APP), gate: ${JSON.stringify(gate)} })\n` +
          goodVersion().replace("import ", "await import(").replace("\n", ")\n")
      )
      const reload = yield* Effect.fork(ours("reload"))
      yield* app.waitFor(/^WAITING/)
      yield* signal(up.pid, "SIGKILL")
      yield* until("the end of the old process", () => !isAlive(up.pid))
      fs.writeFileSync(gate, "")
      const { code, error, out } = yield* Fiber.join(reload)
      assert.strictEqual(code, 0, error)
      assert.include(out, "reloaded: generation 2 serves")
    }))

  it.scopedLive("leaves the upgrade alone when it is killed itself", () =>
    Effect.gen(function*() {
      const { app, ours, socket } = yield* operated()
      const reload = yield* Effect.fork(ours("reload"))
      yield* app.waitFor(/^EVENT \d+ UpgradeStarted/)
      yield* Fiber.interrupt(reload)
      const next = yield* app.up(2)
      // Until then the old one may answer.
      yield* onlyAlive(app, [next.pid])
      assert.strictEqual((yield* statusAt(socket)).pid, next.pid)
    }))

  it.scopedLive("stops, and waits for the end", () =>
    Effect.gen(function*() {
      const { app, ours, up } = yield* operated()
      const slow = yield* slowRequest(up.port, 1_000)
      yield* app.waitFor(/^SERVING/)
      const { code, out } = yield* ours("stop")
      assert.deepStrictEqual([code, out], [0, `process ${up.pid} has ended\n`])
      assert.isFalse(isAlive(up.pid))
      assert.isTrue(Either.isRight(yield* slow))
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      assert.strictEqual((yield* ours("status")).code, 69)
    }))

  it.scopedLive("follows the events over an upgrade, and ends with the process", () =>
    Effect.gen(function*() {
      const { ours, socket, up } = yield* operated()
      const following = yield* start(bin, { args: ["events", "--follow", "--json", "--control", socket] })
      yield* following.waitFor(/"Status".*"generation":1,/)
      const once = yield* start(bin, { args: ["events", "--control", socket] })
      yield* once.waitFor(/generation 1: serving$/)
      assert.strictEqual((yield* ours("reload", "--wait", "ended")).code, 0)
      yield* following.waitFor(/"Status".*"generation":2,/)
      assert.deepStrictEqual(yield* once.exit, { code: 0, signal: null })
      yield* once.waitFor(new RegExp(`process ${up.pid} is draining 0 connections$`))
      yield* once.waitFor(new RegExp(`process ${up.pid} ends$`))
    }))

  it.scopedLive("says by its exit code why nobody has answered", () =>
    Effect.gen(function*() {
      const { app, dir, ours, socket, up } = yield* operated()
      const codes = (...args: ReadonlyArray<string>) =>
        Effect.map(
          Effect.forEach(["status", "reload", "events"], (name) => tableflip(undefined, name, ...args)),
          (all) => all.map(({ code }) => code)
        )
      assert.deepStrictEqual(yield* codes(), [2, 2, 2])
      assert.deepStrictEqual(yield* codes("--control", path.join(dir, "none")), [69, 69, 69])
      const file = path.join(dir, "file")
      fs.writeFileSync(file, "")
      for (const at of [file, dir]) {
        const { code, error } = yield* tableflip(at, "status")
        assert.deepStrictEqual([code, error], [69, `tableflip: ${at} is no socket\n`])
      }
      const other = path.join(dir, "other.sock")
      yield* listening(other, (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
      assert.deepStrictEqual(yield* codes("--control", other), [76, 76, 76])
      const ssh = path.join(dir, "ssh.sock")
      yield* listening(ssh, (socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n"))
      assert.deepStrictEqual(yield* codes("--control", ssh), [76, 76, 76])
      const silent = path.join(dir, "silent.sock")
      yield* listening(silent, () => {})
      assert.strictEqual((yield* tableflip(silent, "status", "--timeout", "0.3")).code, 75)
      assert.strictEqual((yield* tableflip(silent, "reload", "--timeout", "0.3")).code, 75)
      assert.strictEqual((yield* ours("scale", "2")).code, 1)
      // A dead process leaves its socket.
      yield* signal(up.pid, "SIGKILL")
      yield* app.exit
      assert.isTrue(fs.existsSync(socket))
      assert.strictEqual((yield* ours("status")).code, 69)
    }))

  it.scopedLive("loses no request and no answer in reloads one after the other", () =>
    Effect.gen(function*() {
      const { app, ours, up } = yield* operated()
      const clients = yield* load(up.port)
      for (let generation = 2; generation < 7; generation++) {
        const { code, error } = yield* ours("reload", "--wait", "ended")
        assert.strictEqual(code, 0, error)
      }
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual(clients.answers.size, 6)
      yield* onlyAlive(app, [(yield* app.up(6)).pid])
    }))
})

describe.runIf(isLinux)("tableflip as a client of a pool", () => {
  it.scopedLive("changes its size and replaces its workers, and says what is wrong", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const socket = path.join(dir, "control.sock")
      const broken = path.join(dir, "broken")
      const app = yield* start(fixture("workers.mjs"), {
        app: { control: socket, behaviour: { failIfExists: broken } }
      })
      yield* app.up(1)
      const ours = (...args: ReadonlyArray<string>) => tableflip(socket, ...args)
      const pids = Effect.map(ours("status", "--json"), ({ out }) =>
        JSON.parse(out).processes.map(({ pid }: { pid: number }) => pid))
      const scaled = yield* ours("scale", "3")
      assert.deepStrictEqual([scaled.code, scaled.out], [0, "resized from 2 to 3\n"])
      const before = yield* pids
      assert.strictEqual(before.length, 3)
      const one = yield* ours("replace", "1")
      assert.strictEqual(one.code, 0, one.error)
      const after = yield* pids
      assert.deepStrictEqual([after[0], after[2]], [before[0], before[2]])
      assert.notStrictEqual(after[1], before[1])
      const all = yield* ours("replace", "--json")
      assert.deepStrictEqual([all.code, JSON.parse(all.out).outcome], [0, "replaced"])
      const others: ReadonlyArray<number> = yield* pids
      assert.isFalse(others.some((pid) =>
        after.includes(pid)
      ))
      assert.strictEqual((yield* ours("scale", "none")).code, 2)
      assert.strictEqual((yield* ours("replace", "9")).code, 2)
      fs.writeFileSync(broken, "")
      const failed = yield* ours("scale", "4")
      assert.strictEqual(failed.code, 1)
      assert.match(failed.error, /^tableflip: /m)
      assert.deepStrictEqual(yield* pids, others)
    }))
})

describe.runIf(isLinux && process.getuid?.() === 0)("tableflip as another user", () => {
  it.scopedLive("has no permission", () =>
    Effect.gen(function*() {
      const { dir, socket } = yield* operated()
      fs.chmodSync(dir, 0o755)
      const code = yield* Effect.async<number | null>((resume) => {
        const child = spawn(process.execPath, [bin, "status", "--control", socket], {
          uid: 65534,
          gid: 65534,
          stdio: "ignore"
        })
        child.on("close", (code) => resume(Effect.succeed(code)))
      })
      assert.strictEqual(code, 77)
    }))
})
