import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FC from "effect/FastCheck"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as ExitStatus from "../../src/ExitStatus.ts"
import * as exitCode from "../../src/internal/cli/exitCode.ts"
import * as listenSpec from "../../src/internal/cli/listenSpec.ts"
import * as accepter from "../../src/internal/node/accepter.ts"
import { makeTail, prefixLines } from "../../src/internal/node/output.ts"
import * as proc from "../../src/internal/node/proc.ts"
import * as procSockets from "../../src/internal/node/procSockets.ts"
import * as socketActivation from "../../src/internal/wire/listenFds.ts"
import { property } from "../kit/property.ts"

describe("an address on the command line", () => {
  it.each([
    ["8080", { address: { port: 8080 } }],
    [":8080", { address: { port: 8080 } }],
    ["*:0", { address: { port: 0 } }],
    ["127.0.0.1:80", { address: { host: "127.0.0.1", port: 80 } }],
    ["localhost:80", { address: { host: "localhost", port: 80 } }],
    ["[::1]:80", { address: { host: "::1", port: 80 } }],
    ["web=8080", { name: "web", address: { port: 8080 } }],
    ["my.app-1=[::]:80", { name: "my.app-1", address: { host: "::", port: 80 } }],
    ["unix:/run/a=b.sock", { address: { path: "/run/a=b.sock" } }],
    ["s=unix:run/s", { name: "s", address: { path: "run/s" } }]
  ])("%s", (text, expected) => {
    assert.deepStrictEqual(listenSpec.parse(text), expected)
  })

  it.each(["", "x", "-1", "65536", "80:80:80", "::1:80", "[::1]", "[1]:80", "=1", "unix:", "a="])("not %s", (text) => {
    assert.isUndefined(listenSpec.parse(text))
  })

  property("never throws", [FC.string()], ([text]) => {
    listenSpec.parse(text)
  })
})

describe("sockets by the protocol of systemd", () => {
  const pid = 42
  const decode = (environment: Record<string, string>) =>
    socketActivation.decode({ LISTEN_PID: "42", ...environment }, pid)

  it("are those that are meant for this process", () => {
    assert.deepStrictEqual(
      decode({ LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b" }),
      Either.right([{ descriptor: 3, name: "a" }, { descriptor: 4, name: "b" }])
    )
    assert.deepStrictEqual(decode({ LISTEN_FDS: "1" }), Either.right([{ descriptor: 3, name: "unknown" }]))
    assert.deepStrictEqual(decode({ LISTEN_FDS: "1", LISTEN_PID: "43" }), Either.right([]))
    assert.deepStrictEqual(decode({}), Either.right([]))
  })

  it("are refused where they make no sense", () => {
    for (const LISTEN_FDS of ["", "x", "-1", "1.5", "99999999"]) {
      assert.isTrue(Either.isLeft(decode({ LISTEN_FDS })), LISTEN_FDS)
    }
    assert.isTrue(Either.isLeft(decode({ LISTEN_FDS: "2", LISTEN_FDNAMES: "a" })))
  })

  property("come out as they went in", [FC.array(FC.stringMatching(/^[a-z.]{1,9}$/), { maxLength: 50 })], ([names]) => {
    const environment = { ...socketActivation.encode(names), LISTEN_PID: String(pid) }
    const decoded = Either.getOrThrow(socketActivation.decode(environment, pid))
    assert.deepStrictEqual(decoded.map(({ name }) => name), names)
  })

  it("have every name that a program on this library may ask for", () => {
    const addresses = (address: Parameters<typeof socketActivation.aliases>[0]) =>
      socketActivation.aliases(address).map(({ address }) => address)
    assert.deepStrictEqual(addresses({ port: 80 }), [":80", "[::]:80", "0.0.0.0:80"])
    assert.deepStrictEqual(addresses({ port: 80, host: "::", name: "web" }), [
      "web@[::]:80",
      "[::]:80",
      ":80",
      "0.0.0.0:80"
    ])
    assert.deepStrictEqual(addresses({ port: 80, host: "127.0.0.1" }), ["127.0.0.1:80"])
    assert.deepStrictEqual(addresses({ path: "/run/s" }), ["/run/s"])
  })
})

describe("a prefix for each line", () => {
  const said = (...pieces: ReadonlyArray<string>) => {
    const dress = prefixLines("[2] ")
    return pieces.map((piece) => dress(Buffer.from(piece)).toString())
  }

  it("is before each line, an empty one too, and in no line", () => {
    assert.deepStrictEqual(said("a\nb\n", "\n", "c"), ["[2] a\n[2] b\n", "[2] \n", "[2] c"])
  })

  it("is once before a line that comes in pieces", () => {
    assert.deepStrictEqual(said("a", "b", "c\nd", "\n", "e\n"), ["[2] a", "b", "c\n[2] d", "\n", "[2] e\n"])
  })
})

describe("the last lines of an output", () => {
  it("are few, whole and bounded", () => {
    const tail = makeTail()
    for (let n = 1; n <= 1000; n++) tail.add(Buffer.from(`line ${n}\n`))
    assert.deepStrictEqual(tail.lines(), Array.from({ length: 20 }, (_, index) => `line ${981 + index}`))
    const long = makeTail()
    for (let n = 0; n < 100; n++) long.add(Buffer.alloc(10_000, "x"))
    assert.isAtMost(long.lines().join("").length, 8 * 1024)
    const cut = makeTail()
    const bytes = Buffer.from("größer\n\n  \nende")
    for (const byte of bytes) cut.add(Buffer.of(byte))
    assert.deepStrictEqual(cut.lines(), ["größer", "ende"])
  })
})

describe("exit codes", () => {
  it("are those of a shell", () => {
    assert.strictEqual(exitCode.ofStatus(ExitStatus.Exited({ code: 3 })), 3)
    assert.strictEqual(exitCode.ofStatus(ExitStatus.Killed({ signal: "SIGTERM" })), 143)
    assert.strictEqual(exitCode.signalCode("SIGKILL"), 137)
  })
})

describe.runIf(proc.isThere)("what Linux tells", () => {
  const listening = (at: net.ListenOptions) =>
    new Promise<net.Server>((resolve) => {
      const server = net.createServer().listen(at, () => resolve(server))
    })
  const fdOf = (server: net.Server) => (server as unknown as { _handle: { fd: number } })._handle.fd

  it("about where a socket is bound", async () => {
    const directory = fs.mkdtempSync("/tmp/tf-")
    for (const host of ["127.0.0.1", "::1", "0.0.0.0", "::"]) {
      const server = await listening({ host, port: 0 })
      assert.deepStrictEqual(procSockets.addressOf(fdOf(server)), {
        host,
        port: (server.address() as net.AddressInfo).port
      })
      server.close()
    }
    const unix = path.join(directory, "a socket")
    const server = await listening({ path: unix })
    assert.deepStrictEqual(procSockets.addressOf(fdOf(server)), { path: unix })
    server.close()
    assert.isUndefined(procSockets.addressOf(0))
    fs.rmSync(directory, { recursive: true })
  })

  it("about who has accepted a connection", async () => {
    const server = await listening({ host: "127.0.0.1", port: 0 })
    const accepted = new Promise((resolve) => server.once("connection", resolve))
    const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1")
    await Promise.all([accepted, new Promise((resolve) => client.once("connect", resolve))])
    const connection = { localPort: client.localPort!, remotePort: client.remotePort! }
    assert.strictEqual(accepter.accepterOf(connection, process.pid), "family")
    assert.strictEqual(accepter.accepterOf(connection, process.ppid), "family")
    assert.strictEqual(accepter.accepterOf(connection, 2 ** 30), "other")
    assert.strictEqual(accepter.accepterOf({ localPort: 1, remotePort: 1 }, process.pid), "nobody")
    // Only root can become somebody who may not look.
    if (process.getuid?.() !== 0 || process.seteuid === undefined) return
    const other = childProcess.spawn("sleep", ["60"])
    process.seteuid(65534)
    try {
      assert.strictEqual(accepter.accepterOf(connection, other.pid!), "unknown")
    } finally {
      process.seteuid(0)
      other.kill()
    }
    client.destroy()
    server.close()
  })
})
