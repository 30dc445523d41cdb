import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import type { PathAddress } from "../../src/Address.ts"
import { fileIdentity, isSameFile, unlinkOwn } from "../../src/internal/node/identity.ts"
import { bindPath, unpublished } from "../../src/internal/node/unixPath.ts"
import { ListenError } from "../../src/TableflipError.ts"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"

const inUse = (cause: unknown) => new ListenError({ reason: "AddressInUse", address: "", detail: String(cause) })

/** Bound, and let go of after the test. */
const bind = (address: PathAddress) =>
  Effect.acquireRelease(bindPath(address, inUse), ({ discard, handle }) =>
    Effect.sync(() => {
      handle.close()
      discard()
    }))

const listening = (socketPath: string) =>
  Effect.acquireRelease(
    Effect.async<net.Server>((resume) => {
      const server = net.createServer().listen(socketPath, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

/** The file of a socket whose process was killed. */
const leftover = (socketPath: string) =>
  Effect.gen(function*() {
    yield* Effect.scoped(Effect.zipRight(
      listening(`${socketPath}.live`),
      Effect.sync(() => fs.renameSync(`${socketPath}.live`, socketPath))
    ))
  })

const detailOf = (address: PathAddress) =>
  bind(address).pipe(Effect.flip, Effect.map(({ detail, reason }) => `${reason}: ${detail}`))

describe("a socket at a path", () => {
  it.scopedLive("has its path when it is published, not before, and can be taken away again", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "app.sock")
      const bound = yield* bind({ path: at })
      assert.isFalse(fs.existsSync(at))
      assert.isTrue(bound.isThere())
      bound.publish()
      assert.isTrue(fs.statSync(at).isSocket())
      bound.retract()
      assert.isFalse(fs.existsSync(at))
      assert.isTrue(bound.isThere())
    }))

  it.scopedLive("is not taken away by one whose file has been replaced meanwhile", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "app.sock")
      const bound = yield* bind({ path: at })
      bound.publish()
      fs.unlinkSync(at)
      fs.writeFileSync(at, "another's")
      bound.retract()
      assert.strictEqual(fs.readFileSync(at, "utf8"), "another's")
    }))

  it.scopedLive("takes the place of what a dead process has left there", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "app.sock")
      yield* leftover(at)
      const old = fileIdentity(at)!
      const bound = yield* bind({ path: at })
      bound.publish()
      assert.notStrictEqual(fileIdentity(at)!.ino, old.ino)
    }))

  it.scopedLive("is refused where somebody listens, also when that began after it was bound", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "app.sock")
      const bound = yield* bind({ path: at })
      yield* bound.checkFree
      yield* listening(at)
      assert.strictEqual((yield* Effect.flip(bound.checkFree)).reason, "AddressInUse")
      assert.match(yield* detailOf({ path: at }), /^AddressInUse/)
    }))

  it.scopedLive("does not touch a file that is no socket", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "app.sock")
      fs.writeFileSync(at, "notes")
      assert.match(yield* detailOf({ path: at }), /^InvalidAddress: a file is there that is not a socket/)
      assert.strictEqual(fs.readFileSync(at, "utf8"), "notes")
    }))

  it.scopedLive("says what is wrong with a path that cannot be", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      assert.match(yield* detailOf({ path: "" }), /the path is empty/)
      assert.match(
        yield* detailOf({ path: path.join(dir, "none", "app.sock") }),
        new RegExp(`the directory ${dir}/none does not exist`)
      )
      assert.match(yield* detailOf({ path: `\0${"x".repeat(200)}` }), /the path is too long/)
      assert.match(yield* detailOf({ path: path.join(dir, "x".repeat(200)) }), /the path is too long/)
      assert.deepStrictEqual(fs.readdirSync(dir), [])
    }))

  it.scopedLive("has its mode before anybody can connect, also under the name that nobody knows", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      yield* bind({ path: path.join(dir, "app.sock"), mode: 0o600 })
      const [name] = fs.readdirSync(dir)
      const at = path.join(dir, name!)
      assert.strictEqual(fs.statSync(at).mode & 0o777, 0o600)
      const refused = yield* Effect.async<string | undefined>((resume) => {
        net.connect(at).once("error", ({ code }: NodeJS.ErrnoException) => resume(Effect.succeed(code)))
          .once("connect", () => resume(Effect.succeed("connected")))
      })
      assert.strictEqual(refused, "ECONNREFUSED")
    }))

  it.scopedLive.each([0o600, 0o660, 0o666])(
    "has the mode %o from the moment it is there",
    (mode) =>
      Effect.gen(function*() {
        const at = path.join(yield* directory, "app.sock")
        const bound = yield* bind({ path: at, mode })
        bound.publish()
        assert.strictEqual(fs.statSync(at).mode & 0o777, mode)
      })
  )
})

describe.runIf(isLinux)("an abstract socket", () => {
  it.scopedLive("has no file, and is there at once", () =>
    Effect.gen(function*() {
      const name = `\0tableflip-test-${process.pid}`
      const bound = yield* bind({ path: name })
      yield* bound.checkFree
      bound.publish()
      bound.retract()
      assert.isTrue(bound.isThere())
      assert.match(yield* detailOf({ path: name }), /^AddressInUse/)
    }))
})

describe("the file of a socket", () => {
  it.scopedLive("is removed by its own process, and by no other that has come after", () =>
    Effect.gen(function*() {
      const at = path.join(yield* directory, "app.sock")
      yield* leftover(at)
      const own = fileIdentity(at)!
      fs.renameSync(at, `${at}.old`)
      yield* leftover(at)
      yield* unlinkOwn(at, own)
      assert.isTrue(fs.existsSync(at))
      yield* unlinkOwn(`${at}.old`, own)
      assert.isFalse(fs.existsSync(`${at}.old`))
      yield* unlinkOwn(`${at}.old`, own)
    }))

  it.scopedLive("is found by another way to it, and is not what is not there", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const at = path.join(dir, "app.sock")
      yield* leftover(at)
      fs.symlinkSync(dir, `${dir}/link`)
      assert.isTrue(isSameFile(at, `${dir}/link/app.sock`))
      assert.isFalse(isSameFile(at, `${dir}/none`))
      assert.isFalse(isSameFile(`${dir}/none`, `${dir}/none`))
    }))
})

describe("a path that cannot be published", () => {
  it("is told with what has changed since, where that is what is wrong", () => {
    const denied = new ListenError({ reason: "PermissionDenied", address: "/run/app.sock", detail: "EACCES" })
    assert.match(unpublished(denied).detail, /cannot be put there now \(EACCES\), although the socket could be bound/)
    const other = inUse("EADDRINUSE")
    assert.strictEqual(unpublished(other), other)
  })
})
