import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { ours } from "../kit/descriptors.ts"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle, StartOptions } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { eventually } from "../kit/waiting.ts"

const hasPython = spawnSync("python3", ["--version"]).status === 0

const bySomebody = (fds: string, others: Record<string, string> = {}) => ({
  TABLEFLIP_HAS_PARENT_7DIU3: "yes",
  TABLEFLIP_FDS: fds,
  ...others
})

const names = (...names: ReadonlyArray<unknown>): Buffer => {
  const json = Buffer.from(JSON.stringify(names))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(json.length)
  return Buffer.concat([length, json])
}

const raw = (length: number, text: string): Buffer => {
  const message = Buffer.alloc(4 + text.length)
  message.writeUInt32BE(length)
  message.write(text, 4)
  return message
}

/** The test is the parent, and plays it byte by byte. */
const startByHand = (options: StartOptions & { readonly fds?: string; readonly ready?: number } = {}) =>
  Effect.gen(function*() {
    const { extra = ["pipe", "pipe"], fds = "3,4", ready = 3, ...others } = options
    const app = yield* start(fixture("app.mjs"), { app: {}, extra, env: bySomebody(fds), ...others })
    const said: Array<number> = []
    let ended = false
    app.stdio(ready).on("data", (bytes: Buffer) => said.push(...bytes))
    app.stdio(ready).on("error", () => {})
    app.stdio(ready).on("close", () => {
      ended = true
    })
    return { app, said, ended: () => ended }
  })

const isRefused = (app: Handle, pattern: RegExp) =>
  Effect.gen(function*() {
    yield* app.waitFor(new RegExp(`^FAILED \\d+ ProtocolError - ${pattern.source}`), "8 seconds")
    assert.deepStrictEqual(yield* app.exit, { code: 1, signal: null })
  })

describe.runIf(isLinux)("variables that nobody may set by hand", () => {
  for (
    const [what, env, pattern] of [
      ["no descriptors", { TABLEFLIP_HAS_PARENT_7DIU3: "yes" }, /Hand-off: TABLEFLIP_FDS is not set/],
      ["no parent", { TABLEFLIP_FDS: "3,4" }, /Hand-off: TABLEFLIP_FDS is set, but TABLEFLIP_HAS_PARENT_7DIU3/],
      [
        "another parent",
        bySomebody("3,4", { TABLEFLIP_HAS_PARENT_7DIU3: "1" }),
        /Hand-off: TABLEFLIP_HAS_PARENT_7DIU3/
      ],
      ["words", bySomebody("three,four"), /Hand-off: TABLEFLIP_FDS is "three,four"/],
      ["nothing", bySomebody(""), /Hand-off: TABLEFLIP_FDS is ""/],
      ["standard output", bySomebody("1,2"), /Hand-off: TABLEFLIP_FDS is "1,2"/],
      ["one number", bySomebody("3"), /Hand-off: TABLEFLIP_FDS is "3"/],
      ["one number twice", bySomebody("3,3"), /Hand-off: TABLEFLIP_FDS is "3,3"; it names a descriptor twice/],
      ["numbers that are not open", bySomebody("900,901"), /Hand-off: TABLEFLIP_FDS does not name/],
      ["a generation in words", bySomebody("3,4", { TABLEFLIP_GENERATION: "two" }), /Hand-off: TABLEFLIP_GENERATION/],
      ["lifelines in words", bySomebody("3,4", { TABLEFLIP_LIFELINES: "x" }), /Hand-off: TABLEFLIP_LIFELINES/],
      // Without a parent these numbers are descriptors of Node itself: its pipes, its event loop.
      ["Node's own descriptors", bySomebody("3,4"), /Hand-off: TABLEFLIP_FDS does not name/],
      ["Node's own pipes", bySomebody("5,4"), /Hand-off: TABLEFLIP_FDS does not name/],
      ["both ends of a pipe of Node", bySomebody("7,6"), /Hand-off: TABLEFLIP_FDS does not name/],
      ["Node's own pipes further up", bySomebody("12,11"), /Hand-off: TABLEFLIP_FDS does not name/],
      ["everything that Node has open", bySomebody("3,4,5,6,7,8,9,10,11,12,13,14"), /Hand-off: TABLEFLIP_FDS does not/]
    ] as const
  ) {
    it.scopedLive(`are refused at once: ${what}`, () =>
      Effect.gen(function*() {
        const app = yield* start(fixture("app.mjs"), { app: {}, env })
        yield* isRefused(app, pattern)
      }))
  }

  it.scopedLive("are refused if they name files, which are left as they are", () =>
    Effect.gen(function*() {
      const file = path.join(yield* directory, "precious")
      fs.writeFileSync(file, "data")
      const one = fs.openSync(file, "r+")
      const other = fs.openSync(file, "r+")
      const app = yield* start(fixture("app.mjs"), { app: {}, env: bySomebody("3,4"), extra: [one, other] })
      yield* isRefused(app, /Hand-off: TABLEFLIP_FDS does not name/)
      const mixed = yield* start(fixture("app.mjs"), { app: {}, env: bySomebody("3,4"), extra: [one, "pipe"] })
      mixed.stdio(4).end(names())
      yield* isRefused(mixed, /Hand-off: TABLEFLIP_FDS does not name/)
      fs.closeSync(one)
      fs.closeSync(other)
      assert.strictEqual(fs.readFileSync(file, "utf8"), "data")
    }))
})

describe.runIf(isLinux)("what a parent may say", () => {
  it.scopedLive("a channel that is none: the child takes over without it", () =>
    Effect.gen(function*() {
      const other = fs.openSync("/dev/null", "r")
      const { app, said } = yield* startByHand({
        extra: ["pipe", "pipe", other],
        env: bySomebody("3,4", { TABLEFLIP_CHANNEL: "5", TABLEFLIP_EXTENSIONS_OF: ":3,4" })
      })
      fs.closeSync(other)
      app.stdio(4).end(names())
      yield* app.up(2)
      yield* eventually("the ready byte", () => said.length > 0)
    }))

  it.scopedLive("nothing to inherit: the child takes over with one byte", () =>
    Effect.gen(function*() {
      const { app, ended, said } = yield* startByHand()
      app.stdio(4).write(names())
      const up = yield* app.up(2)
      assert.isTrue(up.hasParent)
      yield* eventually("the end of the ready stream", ended)
      assert.deepStrictEqual(said, [42])
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      assert.strictEqual(app.count(/^ALONE/), 0)
      app.stdio(4).end()
      yield* app.waitFor(/^ALONE/)
    }))

  it.scopedLive("the names in single bytes", () =>
    Effect.gen(function*() {
      const { app } = yield* startByHand()
      for (const byte of names()) {
        app.stdio(4).write(Buffer.of(byte))
        yield* Effect.sleep("2 millis")
      }
      assert.isTrue((yield* app.up(2)).hasParent)
    }))

  it.scopedLive("a listener, at odd numbers", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.async<net.Server>((resume) => {
          const server = net.createServer()
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const fd = (server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd
      const { app, ended, said } = yield* startByHand({
        app: { listen: [{ host: "127.0.0.1", port: 1 }] },
        extra: ["ignore", "ignore", "ignore", "ignore", "pipe", "ignore", "pipe", "ignore", fd],
        fds: "7,9,11",
        ready: 7
      })
      app.stdio(9).write(names(["listener", "tcp", "127.0.0.1:1"]))
      const up = yield* app.up(2)
      yield* eventually("the end of the ready stream", ended)
      assert.deepStrictEqual(said, [42])
      assert.strictEqual(up.port, (server.address() as net.AddressInfo).port)
      server.close()
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))

  for (
    const [what, bytes] of [
      ["without a word", Buffer.alloc(0)],
      ["in the middle of the length", Buffer.of(0, 0)],
      ["in the middle of the names", names(["listener", "tcp", "127.0.0.1:0"]).subarray(0, 12)],
      ["one byte too early", names().subarray(0, 5)]
    ] as const
  ) {
    it.scopedLive(`a parent that dies ${what} leaves a child that starts afresh`, () =>
      Effect.gen(function*() {
        const { app, said } = yield* startByHand()
        app.stdio(4).end(bytes)
        const up = yield* app.up(2)
        assert.isFalse(up.hasParent)
        yield* app.waitFor(/^ALONE/)
        assert.strictEqual((yield* ask(up.port)).pid, up.pid)
        assert.deepStrictEqual(said, [])
        yield* signal(up.pid, "SIGHUP")
        const next = yield* app.up(3)
        assert.strictEqual(next.port, up.port)
        yield* onlyAlive(app, [next.pid])
      }))
  }

  it.scopedLive("a parent that dies before ready leaves a child that serves what it inherited", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const { app } = yield* startByHand({ app: { gate } })
      app.stdio(4).write(names())
      yield* app.waitFor(/^WAITING/)
      app.stdio(4).end()
      app.stdio(3).end()
      ;(app.stdio(3) as net.Socket).destroy()
      yield* app.waitFor(/^ALONE/)
      fs.writeFileSync(gate, "")
      const up = yield* app.up(2)
      yield* app.waitFor(/^LOG \d+ WARN The parent is gone/)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))

  for (
    const [what, bytes] of [
      ["garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
      ["a length beyond all bounds", raw(0xffffffff, "[]")],
      ["no JSON", raw(4, "[[[[")],
      ["bytes that are no text", Buffer.of(0, 0, 0, 2, 0xff, 0xfe)],
      ["no list", raw(2, "{}")],
      ["a name of two strings", names(["listener", "tcp"])],
      ["a name of numbers", names([1, 2, 3])],
      ["more names than descriptors", names(["fd", "a", ""])],
      ["no message at all", raw(0, "")]
    ] as const
  ) {
    it.scopedLive(`not: ${what}`, () =>
      Effect.gen(function*() {
        const { app, said } = yield* startByHand()
        app.stdio(4).write(bytes)
        yield* isRefused(app, /Hand-off: the stream of names/)
        assert.deepStrictEqual(said, [])
      }))
  }

  it.scopedLive("not: fewer names than descriptors", () =>
    Effect.gen(function*() {
      const { app } = yield* startByHand({ extra: ["pipe", "pipe", "pipe"], fds: "3,4,5" })
      app.stdio(4).write(names())
      yield* isRefused(app, /Hand-off: the stream of names has 0 name\(s\) for the 1 descriptor/)
    }))

  for (const later of [false, true]) {
    it.scopedLive(`not: more after the names, ${later ? "later" : "at once"}`, () =>
      Effect.gen(function*() {
        const { app, said } = yield* startByHand()
        app.stdio(4).write(later ? names() : Buffer.concat([names(), Buffer.of(1)]))
        const up = yield* app.up(2)
        if (later) app.stdio(4).write(Buffer.of(1))
        yield* app.waitFor(/^PARENT \d+ ProtocolError Hand-off: the stream of names goes on/)
        yield* eventually("the ready byte", () => said.length > 0)
        assert.deepStrictEqual(said, [42])
        assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      }))
  }

  it.scopedLive("not: state without end, which is left unread", () =>
    Effect.gen(function*() {
      const env = bySomebody("3,4", { TABLEFLIP_STATE: "5" })
      const { app } = yield* startByHand({ extra: ["pipe", "pipe", "pipe"], env })
      app.stdio(4).write(names())
      const state = app.stdio(5)
      const megabyte = Buffer.alloc(2 ** 20, "x")
      let sent = 0
      const more = () => {
        while (sent < 256 && state.write(megabyte)) sent++
        if (sent < 256) state.once("drain", more)
      }
      more()
      const up = yield* app.up(2)
      assert.strictEqual(app.count(/^LOG \d+ WARN The state that the older process sent did not arrive whole/), 1)
      assert.isBelow(sent, 64)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))

  it.scopedLive("not: nothing for ever", () =>
    Effect.gen(function*() {
      const { app } = yield* startByHand()
      yield* app.waitFor(/^FAILED \d+ ProtocolError - Hand-off: the stream of names did not carry/, "20 seconds")
      assert.deepStrictEqual(yield* app.exit, { code: 1, signal: null })
    }))
})

describe.runIf(isLinux && hasPython)(`a peer in Python${hasPython ? "" : " (python3 is not installed)"}`, () => {
  const byPython = (lowest: number, gate: string) =>
    start(fixture("peer.py"), {
      executable: "python3",
      args: ["parent", String(lowest), gate, process.execPath, fixture("app.mjs")],
      app: { listen: [{ host: "127.0.0.1", port: 8080 }] }
    })

  for (const lowest of [7, 40]) {
    it.scopedLive(`hands over to Node through pipes, at descriptors from ${lowest}`, () =>
      Effect.gen(function*() {
        const gate = path.join(yield* directory, "gate")
        const peer = yield* byPython(lowest, gate)
        const [, , port] = yield* peer.waitFor(/^PYTHON (\d+) (\d+)/)
        const up = yield* peer.up(2)
        assert.strictEqual(up.port, Number(port))
        yield* peer.waitFor(/^READY \[42\]/)
        assert.strictEqual((yield* ask(up.port)).pid, up.pid)
        assert.strictEqual(peer.count(/^ALONE/), 0)
        fs.writeFileSync(gate, "")
        yield* peer.waitFor(/^ALONE/)
        assert.deepStrictEqual(yield* peer.exit, { code: 0, signal: null })
        yield* signal(up.pid, "SIGHUP")
        const next = yield* peer.up(3)
        assert.strictEqual(next.port, up.port)
        yield* onlyAlive(peer, [next.pid])
      }))
  }

  const grandchild = (lowest: number) =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const peer = yield* byPython(lowest, gate)
      const up = yield* peer.up(2)
      const { body } = yield* ask(up.port, { path: "/grandchild" })
      assert.deepStrictEqual(ours(body), [])
    })

  it.scopedLive("passes nothing on to the programs that the app starts", () => grandchild(7))

  // Node closes descriptors to its own children up to 16, and from there up to the first gap.
  it.scopedLive.fails("passes nothing on, also from high numbers with gaps", () => grandchild(40))

  it.scopedLive("takes over from Node", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("app.mjs"), {
        app: { upgrader: { command: { executable: "python3", args: [fixture("peer.py"), "child"] } } }
      })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGHUP")
      const [, pid] = yield* app.waitFor(/^PYTHON-ALONE (\d+)/)
      yield* app.waitFor(/^NAMES \[\["listener", "tcp", "127.0.0.1:0"\]\]/)
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      assert.deepStrictEqual(yield* ask(up.port), {
        pid: Number(pid),
        generation: 0,
        tag: "python",
        body: `${pid} 0 python`
      })
    }))

  it.scopedLive("stands between two processes of ours and passes on what it does not know", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const app = yield* start(fixture("app.mjs"), {
        app: {
          upgrader: {
            command: {
              executable: "python3",
              args: [fixture("peer.py"), "between", gate, process.execPath, fixture("app.mjs")]
            }
          }
        }
      })
      const up = yield* app.up(1)
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(/^BETWEEN \d+ .*TABLEFLIP_GENERATION.*TABLEFLIP_STATE/)
      fs.writeFileSync(gate, "")
      const third = yield* app.up(3)
      yield* app.waitFor(/^READY \[42\]/)
      yield* app.waitFor(new RegExp(`^ALONE ${third.pid}`))
      assert.strictEqual(third.port, up.port)
      assert.strictEqual((yield* ask(third.port)).pid, third.pid)
    }))
})
