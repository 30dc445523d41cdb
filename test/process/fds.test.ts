import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as dgram from "node:dgram"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { openDescriptors } from "../kit/descriptors.ts"
import { deploy, directory, goodVersion } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { canRun, isRoot, withoutOrdinaryUser } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

const hasIpv6 = Object.values(os.networkInterfaces()).some((all) => all?.some(({ family }) => family === "IPv6"))

const startApp = (listen: ReadonlyArray<object>, others: object = {}) =>
  start(fixture("app.mjs"), { app: { listen, ...others } })

/** What is bound to by the app, the name and port of each listener in the order in which it asked. */
const bound = (app: Handle, pid: number): ReadonlyArray<string> =>
  app.lines().filter((line) => line.startsWith(`BOUND ${pid} `)).map((line) => line.split(" ").slice(2).join(" "))

const upgrade = (app: Handle, from: number, generation: number) =>
  Effect.gen(function*() {
    yield* signal(from, "SIGHUP")
    const next = yield* app.up(generation)
    yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
    return next
  })

const refuses = (app: Handle, reason: string) =>
  Effect.gen(function*() {
    const [line] = yield* app.waitFor(new RegExp(`^FAILED \\d+ ListenError ${reason} .*`))
    assert.deepStrictEqual(yield* app.exit, { code: 1, signal: null })
    yield* onlyAlive(app, [])
    return line
  })

/** A version that differs in its options. */
const changed = (change: string): string =>
  `const options = JSON.parse(process.env.APP)
${change}
process.env.APP = JSON.stringify(options)
await import(${JSON.stringify(fixture("app.mjs"))})
`

const listening = (address: net.ListenOptions): Effect.Effect<net.Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<net.Server>((resume) => {
      const server = net.createServer((socket) => socket.on("error", () => {}))
      server.listen(address, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

describe.runIf(isLinux)("a TCP listener", () => {
  for (
    const [what, address, hosts] of [
      ["on IPv4", { host: "127.0.0.1", port: 0 }, ["127.0.0.1"]],
      ["on IPv6", { host: "::1", port: 0 }, ["::1"]],
      ["on IPv6 only", { host: "::", port: 0, ipv6Only: true }, ["::1"]],
      ["on every address", { port: 0 }, hasIpv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"]],
      ["on a name", { host: "localhost", port: 0 }, ["localhost"]]
    ] as const
  ) {
    it.scopedLive.runIf(hasIpv6 || !what.includes("IPv6"))(
      `${what} keeps its port through upgrades`,
      () =>
        Effect.gen(function*() {
          const app = yield* startApp([address])
          let up = yield* app.up(1)
          const first = bound(app, up.pid)
          for (const generation of [2, 3, 4]) {
            up = yield* upgrade(app, up.pid, generation)
            assert.deepStrictEqual(bound(app, up.pid), first)
            for (const host of hosts) assert.strictEqual((yield* ask({ host, port: up.port })).pid, up.pid)
          }
          yield* onlyAlive(app, [up.pid])
        })
    )
  }

  it.scopedLive("shares port 0 with another one of another name", () =>
    Effect.gen(function*() {
      const host = "127.0.0.1"
      const app = yield* startApp([{ host, port: 0, name: "a" }, { host, port: 0, name: "b" }, { host, port: 0 }])
      const up = yield* app.up(1)
      const first = bound(app, up.pid)
      assert.strictEqual(new Set(first).size, 3)
      const next = yield* upgrade(app, up.pid, 2)
      assert.deepStrictEqual(bound(app, next.pid), first)
      for (const line of first) {
        assert.strictEqual((yield* ask(Number(line.split(" ")[1]))).pid, next.pid)
      }
    }))

  it.scopedLive("on a fixed port is inherited, and is free again after the end", () =>
    Effect.gen(function*() {
      const server = yield* listening({ host: "127.0.0.1", port: 0 })
      const { port } = server.address() as net.AddressInfo
      yield* Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
      })
      const app = yield* startApp([{ host: "127.0.0.1", port }])
      const up = yield* upgrade(app, (yield* app.up(1)).pid, 2)
      assert.strictEqual(up.port, port)
      assert.strictEqual((yield* ask(port)).pid, up.pid)
      yield* signal(up.pid, "SIGTERM")
      yield* onlyAlive(app, [])
      yield* listening({ host: "127.0.0.1", port })
    }))

  it.scopedLive("that the new version asks for elsewhere is bound anew, and the old one is closed", () =>
    Effect.gen(function*() {
      const program = path.join(yield* directory, "main.mjs")
      yield* deploy(program, goodVersion())
      const app = yield* start(program, { app: { listen: [{ host: "127.0.0.1", port: 0 }] } })
      const up = yield* app.up(1)
      yield* deploy(program, changed(`options.listen = [{ host: "127.0.0.1", port: 0, name: "other" }]`))
      const next = yield* upgrade(app, up.pid, 2)
      assert.notStrictEqual(next.port, up.port)
      assert.strictEqual((yield* ask(next.port)).pid, next.pid)
      assert.strictEqual((yield* Effect.flip(ask(up.port))).code, "ECONNREFUSED")
      const sockets = (pid: number) => openDescriptors(pid).filter((target) => target === "socket").length
      // Standard output, standard error and the listener.
      yield* eventually("the old listener to be closed", () => sockets(next.pid) === 3)
      const third = yield* upgrade(app, next.pid, 3)
      yield* eventually("no more sockets", () => sockets(third.pid) === 3)
    }))

  for (
    const [what, before, after] of [
      ["a name becomes its address", { host: "localhost" }, { host: "127.0.0.1" }],
      ["an address becomes its name", { host: "127.0.0.1" }, { host: "localhost" }],
      ["no host becomes ::", {}, { host: "::" }],
      ["an address is written at length", { host: "::1" }, { host: "0:0:0:0:0:0:0:1" }],
      ["it gets a name", { host: "127.0.0.1" }, { host: "127.0.0.1", name: "web" }]
    ] as ReadonlyArray<readonly [string, object, object]>
  ) {
    it.scopedLive.runIf(hasIpv6 || !/::/.test(JSON.stringify([before, after])))(
      `is the same under another spelling: ${what}`,
      () =>
        Effect.gen(function*() {
          const port = yield* freePort
          const program = path.join(yield* directory, "main.mjs")
          yield* deploy(program, goodVersion())
          const app = yield* start(program, { app: { listen: [{ port, ...before }] } })
          const up = yield* app.up(1)
          yield* deploy(program, changed(`options.listen = [${JSON.stringify({ port, ...after })}]`))
          let next = yield* upgrade(app, up.pid, 2)
          next = yield* upgrade(app, next.pid, 3)
          assert.strictEqual(next.port, port)
          assert.strictEqual(
            (yield* ask({ host: JSON.stringify(before).includes("::1") ? "::1" : "127.0.0.1", port })).pid,
            next.pid
          )
        })
    )
  }

  it.scopedLive("cannot be had for other addresses while the older process has it, which it names", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const program = path.join(yield* directory, "main.mjs")
      yield* deploy(program, goodVersion())
      const app = yield* start(program, { app: { listen: [{ host: "localhost", port }] } })
      const up = yield* app.up(1)
      yield* deploy(program, changed(`options.listen = [{ host: "0.0.0.0", port: ${port} }]`))
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(
        new RegExp(`^FAILED \\d+ ListenError AddressInUse .*the older process has this port as localhost:${port}`)
      )
      assert.strictEqual((yield* ask({ host: "localhost", port })).pid, up.pid)
    }))

  it.scopedLive("cannot be claimed twice", () =>
    Effect.gen(function*() {
      const line = yield* refuses(
        yield* startApp([{ host: "127.0.0.1", port: 0 }, { host: "127.0.0.1", port: 0 }]),
        "AlreadyClaimed"
      )
      assert.match(line ?? "", /127\.0\.0\.1:0/)
    }))

  it.scopedLive("cannot have a port that is taken", () =>
    Effect.gen(function*() {
      const { port } = (yield* listening({ host: "127.0.0.1", port: 0 })).address() as net.AddressInfo
      yield* refuses(yield* startApp([{ host: "127.0.0.1", port }]), "AddressInUse")
      yield* refuses(yield* startApp([{ host: "127.0.0.1", port: 0 }, { host: "localhost", port }]), "AddressInUse")
    }))

  for (
    const [what, address, reason] of [
      ["an address of another machine", { host: "192.0.2.1", port: 0 }, "AddressNotAvailable"],
      ["a name that does not exist", { host: "nowhere.invalid", port: 0 }, "AddressNotAvailable"],
      ["a port above 65535", { port: 70_000 }, "InvalidAddress"],
      ["a negative port", { port: -1 }, "InvalidAddress"],
      ["half a port", { port: 80.5 }, "InvalidAddress"]
    ] as const
  ) {
    it.scopedLive(`cannot be on ${what}`, () => Effect.flatMap(startApp([address]), (app) => refuses(app, reason)))
  }

  it.scopedLive.runIf(process.getuid?.() !== 0 && os.platform() === "linux")(
    "cannot be on a privileged port",
    () => Effect.flatMap(startApp([{ host: "127.0.0.1", port: 1 }]), (app) => refuses(app, "PermissionDenied"))
  )
})

describe.runIf(isLinux)("an inherited descriptor of another kind", () => {
  const byHand = (name: ReadonlyArray<string>, descriptor: number, listen: ReadonlyArray<object>) =>
    Effect.gen(function*() {
      const json = Buffer.from(JSON.stringify([name]))
      const length = Buffer.alloc(4)
      length.writeUInt32BE(json.length)
      const app = yield* start(fixture("app.mjs"), {
        app: { listen },
        extra: ["pipe", "pipe", descriptor],
        env: { TABLEFLIP_HAS_PARENT_7DIU3: "yes", TABLEFLIP_FDS: "3,4,5" }
      })
      app.stdio(4).write(Buffer.concat([length, json]))
      return app
    })
  const tcp = [{ host: "127.0.0.1", port: 1 }]
  const tcpName = ["listener", "tcp", "127.0.0.1:1"]
  const handleOf = (server: net.Server) =>
    (server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd

  it.scopedLive("is refused: a file", () =>
    Effect.gen(function*() {
      const file = fs.openSync(path.join(yield* directory, "file"), "w")
      yield* refuses(yield* byHand(tcpName, file, tcp), "WrongDescriptor")
      fs.closeSync(file)
    }))

  it.scopedLive("is refused: a Unix socket for a port", () =>
    Effect.gen(function*() {
      const server = yield* listening({ path: path.join(yield* directory, "a.sock") })
      yield* refuses(yield* byHand(tcpName, handleOf(server), tcp), "WrongDescriptor")
    }))

  it.scopedLive("is refused: a port for a Unix socket", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "a.sock")
      yield* listening({ path: at })
      const server = yield* listening({ host: "127.0.0.1", port: 0 })
      yield* refuses(
        yield* byHand(["listener", "unix", at], handleOf(server), [{ path: at }]),
        "WrongDescriptor"
      )
    }))

  it.scopedLive("is refused: a UDP socket", () =>
    Effect.gen(function*() {
      const socket = yield* udp
      const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === "state symbol")!
      const { handle } = (socket as unknown as Record<symbol, { readonly handle: { readonly fd: number } }>)[symbol]!
      yield* refuses(yield* byHand(tcpName, handle.fd, tcp), "WrongDescriptor")
    }))

  it.scopedLive("is refused: a connection", () =>
    Effect.gen(function*() {
      const server = yield* listening({ host: "127.0.0.1", port: 0 })
      const socket = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1")
      socket.on("error", () => {})
      yield* eventually("a connection", () => !socket.connecting)
      const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle
      yield* refuses(yield* byHand(tcpName, fd, tcp), "\\w+")
      socket.destroy()
    }))

  it.scopedLive("is closed if nothing asks for it, whatever it is", () =>
    Effect.gen(function*() {
      const file = fs.openSync(path.join(yield* directory, "file"), "w")
      for (const name of [["fd", "x", ""], ["newkind", "x", ""], ["listener", "unix", "/nowhere"]]) {
        const app = yield* byHand(name, file, [{ host: "127.0.0.1", port: 0 }])
        const up = yield* app.up(2)
        yield* eventually("the file to be closed", () =>
          !openDescriptors(up.pid).some((target) => target.endsWith("/file")))
        assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      }
      fs.closeSync(file)
    }))
})

describe.runIf(isLinux)("a Unix socket", () => {
  it.scopedLive("survives 5 upgrades under load and goes with the last process", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const app = yield* startApp([{ path: at, mode: 0o600 }])
      let up = yield* app.up(1)
      assert.strictEqual(fs.statSync(at).mode & 0o777, 0o600)
      const clients = yield* load(at)
      for (const generation of [2, 3, 4, 5, 6]) {
        up = yield* upgrade(app, up.pid, generation)
        assert.isTrue(fs.statSync(at).isSocket())
      }
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual(clients.answers.size, 6)
      assert.strictEqual(fs.statSync(at).mode & 0o777, 0o600)
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
      yield* signal(up.pid, "SIGTERM")
      yield* onlyAlive(app, [])
      assert.deepStrictEqual(fs.readdirSync(dir), [])
    }))

  it.scopedLive("takes the place of one that a dead process has left", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const dead = yield* startApp([{ path: at }])
      yield* signal((yield* dead.up(1)).pid, "SIGKILL")
      yield* dead.exit
      assert.isTrue(fs.existsSync(at))
      const app = yield* startApp([{ path: at }])
      const up = yield* app.up(1)
      assert.strictEqual((yield* ask(at)).pid, up.pid)
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
    }))

  it.scopedLive("does not take the place of one that lives", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const other = yield* startApp([{ path: at }])
      const { pid } = yield* other.up(1)
      yield* refuses(yield* startApp([{ path: at }]), "AddressInUse")
      assert.strictEqual((yield* ask(at)).pid, pid)
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
    }))

  it.scopedLive("does not take the place of one that came to live while it was starting", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const gate = path.join(dir, "gate")
      const late = yield* startApp([{ host: "127.0.0.1", port: 0 }, { path: at }], { gate })
      yield* late.waitFor(/^WAITING/)
      const other = yield* startApp([{ path: at }])
      const { pid } = yield* other.up(1)
      fs.writeFileSync(gate, "")
      yield* refuses(late, "AddressInUse")
      assert.strictEqual((yield* ask(at)).pid, pid)
      assert.deepStrictEqual(fs.readdirSync(dir).filter((name) => name !== "gate"), ["app.sock"])
    }))

  it.scopedLive("does not take the place of a file", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      fs.writeFileSync(at, "precious")
      yield* refuses(yield* startApp([{ path: at }]), "InvalidAddress")
      assert.strictEqual(fs.readFileSync(at, "utf8"), "precious")
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
    }))

  for (
    const [what, at] of [["a directory that does not exist", "/nowhere/app.sock"], [
      "a path too long",
      `/tmp/${"x".repeat(120)}`
    ]]
  ) {
    it.scopedLive(`cannot be in ${what}`, () =>
      Effect.flatMap(startApp([{ path: at }]), (app) => refuses(app, "InvalidAddress")))
  }

  it.scopedLive("leaves nothing behind when start-up fails", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      yield* refuses(yield* startApp([{ path: path.join(dir, "app.sock") }, { port: 70_000 }]), "InvalidAddress")
      assert.deepStrictEqual(fs.readdirSync(dir), [])
    }))

  it.scopedLive("with a relative path is where the process was started, wherever it goes, however long that name is", () =>
    Effect.gen(function*() {
      const dir = path.join(yield* directory, "d".repeat(90))
      const elsewhere = yield* directory
      fs.mkdirSync(dir)
      const app = yield* start(fixture("app.mjs"), {
        cwd: dir,
        app: { listen: [{ host: "127.0.0.1", port: 0 }, { path: "app.sock" }], chdir: elsewhere }
      })
      const up = yield* app.up(1)
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
      const next = yield* upgrade(app, up.pid, 2)
      assert.strictEqual(app.count(/no longer at/), 0)
      fs.symlinkSync(dir, path.join(elsewhere, "d"))
      assert.strictEqual((yield* ask(path.join(elsewhere, "d/app.sock"))).pid, next.pid)
      yield* signal(next.pid, "SIGTERM")
      yield* onlyAlive(app, [])
      assert.deepStrictEqual(fs.readdirSync(dir), [])
      assert.deepStrictEqual(fs.readdirSync(elsewhere), ["d"])
    }))

  it.scopedLive("with a relative path leaves nothing behind when the process has gone elsewhere and fails", () =>
    Effect.gen(function*() {
      const [dir, elsewhere] = [yield* directory, yield* directory]
      const gate = path.join(elsewhere, "gate")
      const app = yield* start(fixture("app.mjs"), {
        cwd: dir,
        app: { listen: [{ path: "app.sock" }], chdir: elsewhere, gate }
      })
      yield* app.waitFor(/^WAITING/)
      yield* signal(app.pid, "SIGTERM")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      assert.deepStrictEqual(fs.readdirSync(dir), [])
    }))

  it.scopedLive.runIf(isRoot && withoutOrdinaryUser() === undefined)(
    "in a directory that the process may not write in any more when it is ready says what to do",
    () =>
      Effect.gen(function*() {
        const dir = yield* directory
        fs.chmodSync(dir, 0o755)
        const line = yield* refuses(
          yield* startApp([{ path: path.join(dir, "app.sock") }], { setuid: 65534 }),
          "PermissionDenied"
        )
        assert.match(line!, /given up its rights.*once it is ready, or use a directory/)
      })
  )

  for (const [what, mode, ok] of [["this user alone", 0o755, true], ["others too", 0o777, false]] as const) {
    it.scopedLive.runIf(isRoot && canRun("unshare", "-m", "true"))(
      `without /proc ${ok ? "has its mode" : "is refused a mode"} in a directory that ${what} can write`,
      () =>
        Effect.gen(function*() {
          const dir = yield* directory
          fs.chmodSync(dir, mode)
          const at = path.join(dir, "app.sock")
          const app = yield* start(undefined, {
            executable: "unshare",
            args: [
              "-m",
              "sh",
              "-c",
              "mount -t tmpfs none /proc && exec \"$@\"",
              "sh",
              process.execPath,
              fixture("app.mjs")
            ],
            app: { listen: [{ path: at, mode: 0o600 }] }
          })
          if (ok) {
            yield* app.up(1)
            assert.strictEqual(fs.statSync(at).mode & 0o777, 0o600)
          } else {
            const line = yield* refuses(app, "InvalidAddress")
            assert.match(line!, /\/proc.*only this user can write/)
            assert.deepStrictEqual(fs.readdirSync(dir), [])
          }
        })
    )
  }

  it.scopedLive("is listened on anew if the app removes its path when it boots", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const program = path.join(dir, "main.mjs")
      yield* deploy(
        program,
        `import * as fs from "node:fs"\nfs.rmSync(${JSON.stringify(at)}, { force: true })\n${goodVersion()}`
      )
      const app = yield* start(program, { app: { listen: [{ path: at }] } })
      let up = yield* app.up(1)
      for (const generation of [2, 3]) {
        up = yield* upgrade(app, up.pid, generation)
        assert.strictEqual((yield* ask(at)).pid, up.pid)
      }
      yield* signal(up.pid, "SIGTERM")
      yield* onlyAlive(app, [])
      assert.deepStrictEqual(fs.readdirSync(dir), ["main.mjs"])
    }))

  it.scopedLive("is the same by another path", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      fs.mkdirSync(path.join(dir, "one"))
      fs.symlinkSync("one", path.join(dir, "two"))
      const at = path.join(dir, "two", "app.sock")
      const program = path.join(dir, "main.mjs")
      yield* deploy(program, goodVersion())
      const app = yield* start(program, { app: { listen: [{ path: path.join(dir, "one", "app.sock") }] } })
      const up = yield* app.up(1)
      yield* deploy(program, changed(`options.listen = [{ path: ${JSON.stringify(at)} }]`))
      const next = yield* upgrade(app, up.pid, 2)
      assert.strictEqual((yield* ask(at)).pid, next.pid)
      yield* signal(next.pid, "SIGTERM")
      yield* onlyAlive(app, [])
      assert.deepStrictEqual(fs.readdirSync(path.join(dir, "one")), [])
    }))

  it.scopedLive("that the new version does not ask for goes when the old one has gone", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const program = path.join(dir, "main.mjs")
      yield* deploy(program, goodVersion())
      const app = yield* start(program, { app: { listen: [{ path: at }], upgrader: { probation: 1000 } } })
      const up = yield* app.up(1)
      yield* deploy(program, changed(`options.listen = [{ host: "127.0.0.1", port: 0 }]`))
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      assert.strictEqual((yield* ask(at)).pid, up.pid)
      yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
      yield* eventually("the path to be gone", () => !fs.existsSync(at))
    }))

  // The newer process does not know whether the older one still accepts; the older one not, that the newer one has ended.
  it.scopedLive("is left when the newer process is stopped before the older one has ended, and the next start replaces it", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      const app = yield* startApp([{ path: at }])
      const up = yield* app.up(1)
      const slow = yield* Effect.fork(ask(at, { path: "/?slow=1500" }))
      yield* app.waitFor(/^SERVING/)
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* app.waitFor(/has taken over/)
      yield* signal(next.pid, "SIGTERM")
      yield* slow.await
      yield* onlyAlive(app, [])
      assert.deepStrictEqual(fs.readdirSync(dir), ["app.sock"])
      const again = yield* startApp([{ path: at }])
      const first = yield* again.up(1)
      assert.strictEqual((yield* ask(at)).pid, first.pid)
    }))

  it.scopedLive("goes when an upgrade is cut short by a stop", () =>
    Effect.gen(function*() {
      for (const delay of [0, 100, 200, 300, 400]) {
        const dir = yield* directory
        const app = yield* startApp([{ path: path.join(dir, "app.sock") }])
        const up = yield* app.up(1)
        yield* signal(up.pid, "SIGHUP")
        yield* Effect.sleep(delay)
        yield* signal(up.pid, "SIGTERM").pipe(Effect.ignoreLogged)
        yield* app.exit
        const [survivor] = app.alive()
        if (survivor !== undefined) {
          yield* app.waitFor(new RegExp(`^ALONE ${survivor}`))
          yield* signal(survivor, "SIGTERM")
        }
        yield* onlyAlive(app, [])
        assert.deepStrictEqual(fs.readdirSync(dir), [])
      }
    }))

  it.scopedLive("can have an abstract name", () =>
    Effect.gen(function*() {
      const at = `\0effect-tableflip-${process.pid}`
      const app = yield* startApp([{ path: at }])
      let up = yield* app.up(1)
      const clients = yield* load(at)
      for (const generation of [2, 3]) up = yield* upgrade(app, up.pid, generation)
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual((yield* ask(at)).pid, up.pid)
      yield* refuses(yield* startApp([{ path: at }]), "AddressInUse")
    }))
})

const udp: Effect.Effect<dgram.Socket, never, Scope.Scope> = Effect.acquireRelease(
  Effect.async<dgram.Socket>((resume) => {
    const socket = dgram.createSocket("udp4")
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
  }),
  (socket) => Effect.sync(() => socket.close())
)

describe.runIf(isLinux)("what else is handed over", () => {
  it.scopedLive("not a port that something has opened by itself, and the log names it", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* startApp([{ host: "127.0.0.1", port: 0 }], { own: [port] })
      const up = yield* app.up(1)
      yield* upgrade(app, up.pid, 2)
      yield* app.waitFor(new RegExp(`^LOG ${up.pid} WARN .*127.0.0.1:${port} .*Fds`))
      assert.strictEqual(app.count(/WARN/), 1)
      assert.strictEqual(app.count(new RegExp(`WARN .*:${up.port}\\b`)), 0)
    }))

  it.scopedLive("goes on being in a multicast group, which every generation joins", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("handover.mjs"), { app: { what: ["Group"] } })
      let up = yield* app.up(1)
      for (let generation = 2; generation < 4; generation++) {
        yield* signal(up.pid, "SIGHUP")
        up = yield* app.up(generation)
        yield* app.waitFor(new RegExp(`^ALONE ${up.pid}`))
        const [, port] = yield* app.waitFor(new RegExp(`^GROUP ${up.pid} (\\d+) joined EADDRINUSE joined$`))
        const socket = yield* udp
        const answer = new Promise<string>((resolve) => socket.once("message", (message) => resolve(String(message))))
        socket.setMulticastInterface("127.0.0.1")
        socket.send("x", Number(port), "239.7.7.7")
        assert.strictEqual(yield* Effect.promise(() => answer), `${up.pid} x`)
      }
    }))

  it.scopedLive("UDP: a socket that has a peer, which every generation connects to, or to another one, or to none", () =>
    Effect.gen(function*() {
      const [one, other, anybody] = yield* Effect.all([udp, udp, udp])
      const heard = new Map<dgram.Socket, Array<string>>()
      for (const socket of [one, other, anybody]) {
        const messages: Array<string> = []
        heard.set(socket, messages)
        socket.on("message", (message) => messages.push(String(message)))
      }
      const hears = (socket: dgram.Socket, message: string) =>
        eventually(`"${message}"`, () => heard.get(socket)!.includes(message), {
          seen: () => `${[...heard.values()].map((messages) => messages.join()).join("; ")}\n${app.lines().join("\n")}`
        })
      const peers = [one, one, other, null, one]
      const ports = peers.map((peer) => peer === null ? null : peer.address().port)
      const app = yield* start(fixture("handover.mjs"), { app: { what: ["Peer"], peers: ports } })
      let up = yield* app.up(1)
      const [, port] = yield* app.waitFor(new RegExp(`^PEER ${up.pid} (\\d+)$`))
      for (const [index, peer] of peers.entries()) {
        if (index > 0) {
          yield* signal(up.pid, "SIGHUP")
          up = yield* app.up(index + 1)
          yield* app.waitFor(new RegExp(`^ALONE ${up.pid}`))
          yield* app.waitFor(new RegExp(`^PEER ${up.pid} ${port}$`))
        }
        if (peer !== null) yield* hears(peer, `${up.pid} has a peer`)
        const from = peer ?? anybody
        from.send("and answers", Number(port), "127.0.0.1")
        yield* hears(from, `${up.pid} and answers`)
      }
      assert.strictEqual(app.count(/^FAILED/), 0)
    }))

  it.scopedLive("UDP: no datagram is lost, and none is received before ready", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const gate = path.join(dir, "gate")
      const program = path.join(dir, "main.mjs")
      yield* deploy(program, goodVersion("handover.mjs"))
      const app = yield* start(program, { app: { what: ["Echo"] } })
      let up = yield* app.up(1)
      const port = Number((yield* app.waitFor(/^UDP \d+ (\d+)/))[1])
      const echoes = new Map<number, number>()
      const socket = yield* udp
      socket.on("message", (message) => {
        const [pid, sequence] = String(message).split(" ").map(Number)
        echoes.set(sequence!, pid!)
      })
      let sent = 0
      let going = true
      const sender = yield* Effect.sync(() => {
        // More than that, and a busy machine drops some because the queue of the socket is full.
        while (sent - echoes.size < 64) socket.send(String(sent++), port, "127.0.0.1")
      }).pipe(Effect.zipRight(Effect.sleep("1 millis")), Effect.repeat({ while: () => going }), Effect.forkScoped)

      yield* deploy(
        program,
        changed(`options.gate = ${JSON.stringify(gate)}`).replace("app.mjs", "handover.mjs")
      )
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(/^WAITING/)
      yield* eventually("more echoes", () => echoes.size > 3000)
      assert.deepStrictEqual([...new Set(echoes.values())], [up.pid])
      fs.writeFileSync(gate, "")
      up = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^ALONE ${up.pid}`))
      for (const generation of [3, 4, 5, 6]) up = yield* upgrade(app, up.pid, generation)
      yield* eventually("echoes of the newest", () => [...echoes.values()].includes(up.pid))
      going = false
      yield* sender.await
      yield* eventually("every echo", () => echoes.size === sent, {
        within: "3 seconds",
        seen: () => `${sent} sent, ${echoes.size} echoes`
      })
      assert.strictEqual(new Set(echoes.values()).size, 6)
      assert.strictEqual(Number(app.lines().filter((line) => line.startsWith("UDP ")).at(-1)?.split(" ")[2]), port)
    }))

  /** A client of the fixture, which is one connection for the whole test. */
  const connectPeer = (app: Handle) =>
    Effect.gen(function*() {
      const port = Number((yield* app.waitFor(/^TCP \d+ (\d+)/))[1])
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => net.connect(port, "127.0.0.1")),
        (socket) => Effect.sync(() => socket.destroy())
      )
      let heard = ""
      let ended = false
      socket.on("data", (text) => {
        heard += String(text)
      })
      socket.on("close", () => {
        ended = true
      })
      socket.on("error", () => {})
      return {
        say: (text: string) => Effect.sync(() => void socket.write(`${text}\n`)),
        hear: (text: string) => eventually(`to hear ${text}`, () => heard.includes(text), { seen: () => heard }),
        ended: () => ended
      }
    })

  it.scopedLive("a connection, with what is unread in it", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("handover.mjs"), { app: { what: ["Connection"] } })
      const up = yield* app.up(1)
      const peer = yield* connectPeer(app)
      yield* peer.hear(`${up.pid} hello`)
      yield* app.waitFor(/^ADDED/)
      yield* peer.say("one")
      yield* peer.hear(`${up.pid} one`)
      let last = up
      for (const generation of [2, 3]) {
        yield* signal(last.pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`Started process \\d+ as generation ${generation}`))
        yield* peer.say(`unread ${generation}`)
        const next = yield* app.up(generation)
        yield* peer.hear(`${next.pid} unread ${generation}`)
        yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
        assert.isFalse(peer.ended())
        last = next
      }
      yield* onlyAlive(app, [last.pid])
    }))

  it.scopedLive("a connection, which the older process goes on with when the upgrade fails", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("handover.mjs"), {
        app: { what: ["Connection"], upgrader: { command: { args: ["-e", "setTimeout(() => process.exit(1), 300)"] } } }
      })
      const up = yield* app.up(1)
      const peer = yield* connectPeer(app)
      yield* app.waitFor(/^ADDED/)
      for (const attempt of [1, 2]) {
        yield* signal(up.pid, "SIGHUP")
        yield* app.waitForCount(/Started process/, attempt)
        yield* peer.say(`during ${attempt}`)
        yield* app.waitForCount(/UpgradeFailed/, attempt)
        yield* peer.hear(`${up.pid} during ${attempt}`)
        yield* peer.say(`after ${attempt}`)
        yield* peer.hear(`${up.pid} after ${attempt}`)
      }
      assert.isFalse(peer.ended())
    }))

  it.scopedLive("a file", () =>
    Effect.gen(function*() {
      const journal = path.join(yield* directory, "journal")
      const app = yield* start(fixture("handover.mjs"), { app: { what: ["File"], journal } })
      let up = yield* app.up(1)
      for (const generation of [2, 3, 4]) up = yield* upgrade(app, up.pid, generation)
      const [, descriptor] = yield* app.waitFor(new RegExp(`^JOURNAL ${up.pid} (\\d+) true`))
      assert.strictEqual(fs.readFileSync(`/proc/${up.pid}/fd/${descriptor}`, "utf8"), "1\n2\n3\n4\n")
    }))
})
