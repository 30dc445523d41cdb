/**
 * What somebody else on the same machine could try, and what an attacker with a foothold in the app could: see SECURITY.md.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { ours } from "../kit/descriptors.ts"
import { directory, pidIn } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { StartOptions } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { asOrdinaryUser, canRun, isRoot, ordinarily, withoutOrdinaryUser } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

/** Everybody may write there, and take away what belongs to others unless it is sticky. */
const sharedDirectory = (mode: number) => Effect.tap(directory, (dir) => Effect.sync(() => fs.chmodSync(dir, mode)))

const modeOf = (file: string) => fs.lstatSync(file).mode & 0o7777

/** As root, and as an ordinary user where this is root and can be one. */
const users = [
  ...isRoot
    ? [{ who: "root", run: (script: string): StartOptions => ({ executable: process.execPath, args: [script] }) }]
    : [],
  ...withoutOrdinaryUser() === undefined ? [{ who: "an ordinary user", run: ordinarily }] : []
]

/** So that what is not protected otherwise is open to everybody. */
const withoutUmask = ({ args = [], executable = "" }: StartOptions): StartOptions => ({
  executable: "sh",
  args: ["-c", `umask 0; exec "$@"`, "sh", executable, ...args]
})

const upgradeOnce = (app: Effect.Effect.Success<ReturnType<typeof start>>, pid: number) =>
  Effect.gen(function*() {
    yield* signal(pid, "SIGHUP")
    const next = yield* app.up(2)
    yield* onlyAlive(app, [next.pid])
    return next
  })

/** Runs it as the other user, who is somebody else than root. */
const byOthers = (script: string, ...args: ReadonlyArray<string>): string => {
  const [command = process.execPath, ...others] = [...asOrdinaryUser, process.execPath, "-e", script, ...args]
  const { stderr, stdout } = spawnSync(command, others, { encoding: "utf8" })
  return stdout.trim() + stderr
}

const tryToConnect = `require("node:net").connect(process.argv[1])
  .on("connect", () => { console.log("connected"); process.exit() })
  .on("error", (error) => console.log(error.code))`

for (const { run, who } of users) {
  describe.runIf(isLinux)(`a PID file of ${who}`, () => {
    const startWith = (pidFile: string, others: Partial<StartOptions> = {}) =>
      start(undefined, { ...run(fixture("app.mjs")), app: { upgrader: { pidFile } }, ...others })

    it.scopedLive("is readable by all and writable by its owner alone, whatever the umask", () =>
      Effect.gen(function*() {
        const pidFile = path.join(yield* sharedDirectory(0o777), "app.pid")
        const app = yield* startWith(pidFile, withoutUmask(run(fixture("app.mjs"))))
        const up = yield* app.up(1)
        assert.strictEqual(modeOf(pidFile), 0o644)
        yield* upgradeOnce(app, up.pid)
        assert.strictEqual(modeOf(pidFile), 0o644)
      }))

    it.scopedLive("takes the place of a link that was planted, and does not follow it", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o777)
        const precious = path.join(dir, "precious")
        const pidFile = path.join(dir, "app.pid")
        fs.writeFileSync(precious, "data")
        fs.chmodSync(precious, 0o666)
        fs.symlinkSync(precious, pidFile)
        const app = yield* startWith(pidFile)
        const up = yield* app.up(1)
        assert.isTrue(fs.lstatSync(pidFile).isFile())
        assert.strictEqual(pidIn(pidFile), up.pid)

        fs.unlinkSync(pidFile)
        fs.symlinkSync(precious, pidFile)
        const next = yield* upgradeOnce(app, up.pid)
        assert.isTrue(fs.lstatSync(pidFile).isFile())

        fs.unlinkSync(pidFile)
        fs.writeFileSync(precious, `${next.pid}\n`)
        fs.symlinkSync(precious, pidFile)
        yield* signal(next.pid, "SIGTERM")
        yield* onlyAlive(app, [])
        assert.isTrue(fs.lstatSync(pidFile).isSymbolicLink())
        assert.strictEqual(fs.readFileSync(precious, "utf8"), `${next.pid}\n`)
      }))

    for (
      const [what, plant] of [
        ["a pipe", (file: string) => spawnSync("mkfifo", [file])],
        ["a link to a file without end", (file: string) => fs.symlinkSync("/dev/zero", file)],
        ["a directory", (file: string) => fs.mkdirSync(file)],
        ["a file of 1 GB", (file: string) => {
          fs.writeFileSync(file, "")
          fs.truncateSync(file, 2 ** 30)
        }]
      ] as const
    ) {
      it.scopedLive(`keeps no process waiting if ${what} is put in its place`, () =>
        Effect.gen(function*() {
          const dir = yield* sharedDirectory(0o777)
          const pidFile = path.join(dir, "app.pid")
          const app = yield* startWith(pidFile)
          const up = yield* app.up(1)
          fs.unlinkSync(pidFile)
          plant(pidFile)
          yield* signal(up.pid, "SIGTERM")
          assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
          assert.deepStrictEqual(fs.readdirSync(dir), ["app.pid"])
        }))
    }

    it.scopedLive("is written under another name each time", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o777)
        const names = new Set<string>()
        const watcher = yield* Effect.acquireRelease(
          Effect.sync(() => fs.watch(dir, (_, name) => name?.startsWith(".") === true && names.add(name))),
          (watcher) => Effect.sync(() => watcher.close())
        )
        assert.isDefined(watcher)
        const app = yield* startWith(path.join(dir, "app.pid"))
        const up = yield* app.up(1)
        yield* upgradeOnce(app, up.pid)
        yield* eventually("two temporary names", () => names.size >= 2)
        assert.deepStrictEqual([...names].filter((name) => !/^\.\w+-\w{6,}$/.test(name)), [])
        const random = [...names].map((name) => name.split("-")[1])
        assert.strictEqual(new Set(random).size, names.size)
      }))
  })

  describe.runIf(isLinux)(`a Unix socket of ${who}`, () => {
    const startAt = (at: string, others: Partial<StartOptions> = {}) =>
      start(undefined, { ...run(fixture("app.mjs")), app: { listen: [{ path: at, mode: 0o600 }] }, ...others })

    it.scopedLive("cannot be connected to before it has its mode", () =>
      Effect.gen(function*() {
        const at = path.join(yield* sharedDirectory(0o777), "app.sock")
        const app = yield* start(undefined, {
          ...withoutUmask(run(fixture("planted.mjs"))),
          app: { listen: [{ path: at, mode: 0o600 }] },
          env: { PLANT: JSON.stringify({ connectAs: who === "root" ? asOrdinaryUser : [] }) }
        })
        yield* app.waitFor(/^CONNECT ECONNREFUSED$/)
        yield* app.up(1)
        assert.strictEqual(modeOf(at), 0o600)
      }))

    it.scopedLive("does not lend its mode to a file that a planted link leads to", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o777)
        const secret = path.join(dir, "secret")
        fs.writeFileSync(secret, "secret")
        fs.chmodSync(secret, 0o600)
        if (isRoot && who !== "root") fs.chownSync(secret, 65534, 65534)
        const app = yield* start(undefined, {
          ...run(fixture("planted.mjs")),
          app: { listen: [{ path: path.join(dir, "app.sock"), mode: 0o666 }] },
          env: { PLANT: JSON.stringify({ linkTo: secret }) }
        })
        yield* app.waitFor(/^FAILED \d+ ListenError .*somebody has put something else in the place of the socket/)
        assert.deepStrictEqual(yield* app.exit, { code: 1, signal: null })
        assert.strictEqual(modeOf(secret), 0o600)
        assert.deepStrictEqual(fs.readdirSync(dir), ["secret"])
      }))

    it.scopedLive("leaves a link at its path alone, and what it leads to", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o777)
        const precious = path.join(dir, "precious")
        const at = path.join(dir, "app.sock")
        fs.writeFileSync(precious, "data")
        fs.symlinkSync(precious, at)
        const app = yield* startAt(at)
        yield* app.waitFor(/^FAILED \d+ ListenError InvalidAddress .*a file is there that is not a socket/)
        yield* app.exit
        assert.strictEqual(fs.readlinkSync(at), precious)
        assert.strictEqual(fs.readFileSync(precious, "utf8"), "data")
      }))

    it.scopedLive("leaves the live socket of another program alone, of whatever kind", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o777)
        const at = path.join(dir, "app.sock")
        const other = yield* Effect.acquireRelease(
          Effect.async<net.Server>((resume) => {
            const server = net.createServer((socket) => socket.on("error", () => {}).end("other"))
            server.listen(at, () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => server.close())
        )
        assert.isTrue(other.listening)
        // An ordinary user may not even knock at it.
        fs.chmodSync(at, 0o600)
        const before = fs.lstatSync(at)
        const app = yield* startAt(at)
        yield* app.waitFor(/^FAILED \d+ ListenError AddressInUse/)
        yield* app.exit
        assert.strictEqual(fs.lstatSync(at).ino, before.ino)
      }))

    it.scopedLive("does not remove the socket that another program has put at its path since", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o777)
        const at = path.join(dir, "app.sock")
        const app = yield* startAt(at)
        const up = yield* app.up(1)
        fs.unlinkSync(at)
        const other = yield* Effect.acquireRelease(
          Effect.async<net.Server>((resume) => {
            const server = net.createServer()
            server.listen(at, () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => server.close())
        )
        yield* signal(up.pid, "SIGTERM")
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
        assert.isTrue(fs.existsSync(at))
        assert.isTrue(other.listening)
      }))
  })

  describe.runIf(isLinux)(`an upgrade by ${who}`, () => {
    const statusOf = (pid: number) =>
      fs.readFileSync(`/proc/${pid}/status`, "utf8").split("\n").filter((line) =>
        /^(Uid|Gid|Groups|Umask|NoNewPrivs|Seccomp|Cap\w+):/.test(line)
      )

    it.scopedLive.runIf(canRun("prlimit", "--version"))(
      "gains no right and loses no limit",
      () =>
        Effect.gen(function*() {
          const { args = [], executable = "" } = run(fixture("app.mjs"))
          const app = yield* start(undefined, {
            executable: "sh",
            args: [
              "-c",
              `umask 027; ulimit -c 0; ulimit -n 500; exec setpriv --no-new-privs "$@"`,
              "sh",
              executable,
              ...args
            ],
            app: {}
          })
          const up = yield* app.up(1)
          const before = statusOf(up.pid)
          const limits = fs.readFileSync(`/proc/${up.pid}/limits`, "utf8")
          assert.match(limits, /Max core file size +0 +0/)
          const next = yield* upgradeOnce(app, up.pid)
          assert.deepStrictEqual(statusOf(next.pid), before)
          assert.strictEqual(fs.readFileSync(`/proc/${next.pid}/limits`, "utf8"), limits)
        })
    )

    it.scopedLive("leaves nothing of it to the programs that the app starts", () =>
      Effect.gen(function*() {
        const app = yield* start(undefined, { ...run(fixture("app.mjs")), app: {} })
        const up = yield* app.up(1)
        const next = yield* upgradeOnce(app, up.pid)
        assert.deepStrictEqual(ours((yield* ask(next.port, { path: "/grandchild" })).body), [])
      }))

    it.scopedLive("hands the keys of TLS tickets over where nobody else can read them", () =>
      Effect.gen(function*() {
        const tellKeys = `data:text/javascript,${
          encodeURIComponent(`import fs from "node:fs"; import tls from "node:tls"
            const { getTicketKeys, setTicketKeys } = tls.Server.prototype
            const tell = (what, keys) => fs.writeSync(1, what + " " + process.pid + " " + keys.toString("hex") + "\\n")
            tls.Server.prototype.getTicketKeys = function() { const keys = getTicketKeys.call(this); tell("GAVE", keys); return keys }
            tls.Server.prototype.setTicketKeys = function(keys) { tell("TOOK", keys); return setTicketKeys.call(this, keys) }`)
        }`
        const dir = yield* sharedDirectory(0o777)
        const { args = [], executable = process.execPath } = run(fixture("servers.mjs"))
        const { certificate } = yield* Effect.promise(() => import("../kit/certificate.ts"))
        const app = yield* start(undefined, {
          executable,
          args: [...args.slice(0, -1), "--import", tellKeys, ...args.slice(-1)],
          app: { server: "https", certificate },
          env: { TMPDIR: dir }
        })
        const up = yield* app.up(1)
        yield* signal(up.pid, "SIGHUP")
        const next = yield* app.up(2)
        const [, keys = ""] = yield* app.waitFor(new RegExp(`^GAVE ${up.pid} (\\w{96})$`))
        yield* app.waitFor(new RegExp(`^TOOK ${next.pid} ${keys}$`))
        const bytes = Buffer.from(keys, "hex")
        const forms = [
          keys,
          keys.toUpperCase(),
          bytes.toString("base64"),
          bytes.toString("base64url"),
          bytes.toString("latin1")
        ]
        for (const file of ["environ", "cmdline"]) {
          const content = fs.readFileSync(`/proc/${next.pid}/${file}`, "latin1")
          assert.deepStrictEqual(forms.filter((form) => content.includes(form)), [])
        }
        assert.deepStrictEqual(fs.readdirSync(dir), [])
        if (who === "root") {
          assert.match(
            byOthers(`console.log(require("fs").readdirSync(process.argv[1]))`, `/proc/${next.pid}/fd`),
            /EACCES/
          )
        }
      }))
  })
}

describe.runIf(isLinux && isRoot && withoutOrdinaryUser() === undefined)("a Unix socket of root with a mode", () => {
  for (const [mode, answer] of [[0o600, "EACCES"], [0o660, "EACCES"], [0o666, "connected"]] as const) {
    it.scopedLive(`0${mode.toString(8)} answers an ordinary user with ${answer}, before and after an upgrade`, () =>
      Effect.gen(function*() {
        const at = path.join(yield* sharedDirectory(0o755), "app.sock")
        const app = yield* start(fixture("app.mjs"), { app: { listen: [{ path: at, mode }] } })
        const up = yield* app.up(1)
        assert.strictEqual(byOthers(tryToConnect, at), answer)
        yield* upgradeOnce(app, up.pid)
        assert.strictEqual(byOthers(tryToConnect, at), answer)
      }))
  }
})

describe.runIf(isLinux && isRoot && withoutOrdinaryUser() === undefined)(
  "a sticky directory in which root has files",
  () => {
    it.scopedLive("keeps an ordinary user from taking over the PID file or the socket", () =>
      Effect.gen(function*() {
        const dir = yield* sharedDirectory(0o1777)
        const pidFile = path.join(dir, "app.pid")
        const at = path.join(dir, "app.sock")
        const listen = [{ host: "127.0.0.1", port: 0 }, { path: at, mode: 0o666 }]
        const app = yield* start(fixture("app.mjs"), { app: { listen, upgrader: { pidFile } } })
        const up = yield* app.up(1)
        const thief = yield* start(undefined, {
          ...ordinarily(fixture("app.mjs")),
          app: { listen: [{ host: "127.0.0.1", port: 0 }], upgrader: { pidFile } }
        })
        yield* thief.waitFor(/^FAILED \d+ PidFileError NotWritten Could not write the PID file .*(EPERM|EACCES)/)
        assert.deepStrictEqual(yield* thief.exit, { code: 1, signal: null })
        assert.strictEqual(pidIn(pidFile), up.pid)
        assert.deepStrictEqual(fs.readdirSync(dir), ["app.pid", "app.sock"])
        assert.match(byOthers(`require("fs").unlinkSync(process.argv[1])`, at), /EPERM/)
        assert.strictEqual((yield* ask(at)).pid, up.pid)
      }))
  }
)
