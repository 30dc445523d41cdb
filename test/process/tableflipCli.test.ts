import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { bin, fixture, root } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { children, isAlive, isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { commands, ready, run, server, soon } from "../kit/tableflip.ts"
import { isRoot, withoutOrdinaryUser } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

const tableflip = (
  args: ReadonlyArray<string>,
  options: { readonly uid?: number } = {}
): Effect.Effect<Ended> =>
  Effect.async((resume) => {
    // Without the dashes, Node 20 takes any `--env-file` for its own, and ends where there is no such file.
    const child = execFile(
      process.execPath,
      ["--", bin, ...args],
      { timeout: 30_000, ...options },
      (_, stdout, stderr) => resume(Effect.succeed({ status: child.exitCode, stdout, stderr }))
    )
  })

/** What it says of bad arguments: one line, that names what is wrong, and nothing is started. */
const refuses = ([args, message]: readonly [ReadonlyArray<string>, RegExp]) =>
  Effect.map(tableflip(["run", ...args]), ({ status, stderr, stdout }) => {
    assert.match(stderr, message)
    assert.deepStrictEqual([status, stdout, stderr.trim().split("\n").length], [2, "", 1], stderr)
  })

const marker = ["--", "sh", "-c", "echo started; sleep 60"]

const badArguments: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
  [["--listen", "8080"], /^tableflip: the command is missing: put it after the options, with --/],
  [["node", "app.js"], /the command is missing/],
  [["--"], /nothing follows --/],
  [["--lisen", "8080", ...marker], /^tableflip: there is no option --lisen; did you mean --listen\? See /],
  [["stray", ...marker], /"stray" is no option; the command comes after --/],
  ...["x", "99999", "host", "[zz]:80", "unix:", "=80", "a b=80", "127.0.0.1:"].map((address) =>
    [["--listen", address, ...marker], /--listen is .* it must be like 8080, 127\.0\.0\.1:8080/] as const
  ),
  [["--listen", "", ...marker], /--listen is ""/],
  [["", ...marker], /an argument is empty/],
  [["--listen", "--mode", "660", ...marker], /--listen lacks its value, ADDRESS/],
  [["--cwd", "--", "true"], /--cwd lacks its value, DIRECTORY/],
  [["--cwd", "/", "--cwd=/tmp", ...marker], /--cwd is given more than once/],
  [["--quiet=yes", ...marker], /--quiet takes no value/],
  [["--", ""], /the command after -- is empty/],
  [["--listen", "8080", "--mode", "660", ...marker], /--mode goes with --listen unix/],
  [["--listen", "unix:/tmp/x", "--mode", "rw", ...marker], /permissions in octal/],
  [["--listen", "8080", "--listen", "8080", ...marker], /--listen is .*:8080; it must be named once/],
  [["--listen", "80", "--listen", "[::1]:80", ...marker], /--listen is :80 and \[::1\]:80; it must be addresses of/],
  [["--listen", "0.0.0.0:80", "--listen", "127.0.0.1:80", ...marker], /it must be addresses of which none takes in/],
  [["--listen", "we b=127.0.0.1:80", ...marker], /--listen is "we b=127\.0\.0\.1:80"; it must be like 8080/],
  [["--stop-signal", "STOP", ...marker], /--stop-signal is SIGSTOP; it must be a signal that a process can end by/],
  [["--stop-signal", "NOPE", ...marker], /must be a signal, such as TERM/],
  [["--max-restarts", "5", ...marker], /such as 5\/60/],
  [["--restart", "maybe", ...marker], /always.*on-failure.*never/],
  [["--replace-at-once", "some", ...marker], /--replace-at-once is "some"; it must be all or a whole number from 1/],
  [["--workers", "0", ...marker], /--workers is "0"; it must be a whole number from 1/],
  [["--warmup", "-1", ...marker], /--warmup is "-1"; it must be a number of seconds from 0/],
  [["--warmup-time", "x", ...marker], /--warmup-time is "x"; it must be a number/],
  [["-wx", ...marker], /-w is "x"; it must be a number/],
  [["--warmup-time", "90", ...marker], /--warmup-time must be shorter than --ready-timeout, which is 60/],
  [["--ready-http", "ftp://x", ...marker], /--ready-http is "ftp:\/\/x"; it must be a URL/],
  [["--ready-tcp", "8080", ...marker], /a host and a port/],
  [["--ready-fd", "2", ...marker], /--ready-fd is "2"; it must be a whole number from 3/],
  [["--ready-fd", "3", "--listen", "0", ...marker], /--ready-fd is descriptor 3, which is one of the sockets/],
  [["-w", "1", "--ready-wire", ...marker], /--ready-wire and -w exclude each other/],
  [["--ready-interval", "1", ...marker], /--ready-interval goes with --ready-http or --ready-tcp/],
  [["--leave-running", "-k", ...marker], /--leave-running and -k contradict each other/],
  [["--leave-running", "--output", "capture", ...marker], /exclude each other/]
]

describe.runIf(isLinux)("the arguments of tableflip", () => {
  it.live("are refused in one line, with exit code 2", () =>
    Effect.forEach(badArguments, refuses, { concurrency: 2, discard: true }))

  it.live("may ask for help and for the version, whatever else is wrong with them", () =>
    Effect.gen(function*() {
      for (const args of [["run", "--help"], ["help", "run"], ["run", "--lisen", "-vh"]]) {
        const help = yield* tableflip(args)
        assert.deepStrictEqual([help.status, help.stderr], [0, ""])
        assert.match(help.stdout, /^Usage: tableflip run \[options\] -- COMMAND/)
      }
      for (const args of [[], ["help"], ["--help"], ["-h"]]) {
        const help = yield* tableflip(args)
        assert.strictEqual(help.status, 0)
        assert.match(help.stdout, /^Usage: tableflip <command>/)
      }
      const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
      for (const args of [["--version"], ["run", "--version"]]) {
        assert.deepStrictEqual(yield* tableflip(args), { status: 0, stdout: `${version}\n`, stderr: "" })
      }
    }))

  it.live("are refused in front of the subcommand, too", () =>
    Effect.gen(function*() {
      for (
        const [args, message] of [
          [["rum"], /there is no command "rum"; did you mean run\? See tableflip --help/],
          [["--listen", "80"], /--listen comes after a command, as in tableflip run --listen/],
          [["--verison"], /there is no option --verison; did you mean --version\?/],
          [[""], /an argument is empty/],
          [["completions"], /the shell is missing: bash, zsh or fish/],
          [["completions", "csh"], /"csh" must be bash, zsh or fish/],
          [["completions", "bash", "--", "x"], /takes no command after --/]
        ] as const
      ) {
        const { status, stderr } = yield* tableflip(args)
        assert.match(stderr, message)
        assert.deepStrictEqual([status, stderr.trim().split("\n").length], [2, 1])
      }
    }))
})

describe.runIf(isLinux)("the exit code of tableflip", () => {
  it.scopedLive("tells what kept the command from starting", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const script = path.join(dir, "script")
      fs.writeFileSync(script, "#!/bin/sh\n")
      const fails = (
        args: ReadonlyArray<string>,
        code: number,
        message: RegExp,
        options?: { readonly uid: number }
      ): Effect.Effect<void> =>
        Effect.map(tableflip(["run", ...args], options), ({ status, stderr }) => {
          assert.match(stderr, message)
          assert.strictEqual(status, code, stderr)
        })
      yield* fails(["--", "no-such-program"], 127, /Could not start no-such-program: there is no such program in PATH/)
      yield* fails(["--", "./no/such"], 127, /there is no file .*\/no\/such/)
      yield* fails(["--", script], 126, /script is not a program that may be run; is it executable/)
      yield* fails(["--", dir], 126, /not a program/)
      yield* fails(
        ["--cwd", path.join(dir, "gone"), "--", "true"],
        66,
        /the directory .*gone cannot be used/
      )
      yield* fails(["--env-file", path.join(dir, "gone"), "--", "true"], 66, /Could not read the environment file/)
      yield* fails(
        ["--pid-file", path.join(dir, "gone", "pid"), "--", "true"],
        73,
        /the PID file .*gone\/pid: ENOENT[^,]*$/m
      )
      yield* fails(["--listen", "192.0.2.1:80", "--", "true"], 69, /192\.0\.2\.1:80: this machine has no such address/)
      yield* fails(["--", "sh", "-c", "exit 42"], 42, /exited with code 42 before it was ready/)
      yield* fails(["--ready-timeout", "0.2", "--ready-wire", "--", "sleep", "60"], 70, /was not ready within 200ms/)

      const port = yield* Effect.acquireRelease(
        Effect.async<net.Server>((resume) => {
          const server = net.createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      ).pipe(Effect.map((server) => (server.address() as net.AddressInfo).port))
      yield* fails(["--listen", `127.0.0.1:${port}`, "--", "true"], 69, /another process listens there/)
      const file = path.join(dir, "file")
      fs.writeFileSync(file, "")
      yield* fails(["--listen", `unix:${file}`, "--", "true"], 2, /a file is there that is not a socket/)
      if (isRoot && withoutOrdinaryUser() === undefined) {
        fs.chmodSync(dir, 0o755)
        yield* fails(["--listen", `unix:${path.join(dir, "s")}`, "--", "true"], 77, /Could not listen on .*EACCES/, {
          uid: 65534
        })
        const firstFree = Number(fs.readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"))
        if (firstFree > 1) {
          yield* fails(["--listen", "127.0.0.1:1", "--", "true"], 77, /127\.0\.0\.1:1: .*CAP_NET_BIND_SERVICE/, {
            uid: 65534
          })
        }
      }
    }))
})

describe.runIf(isLinux)("what tableflip says", () => {
  it.scopedLive("is a JSON object for each event, if that is asked for", () =>
    Effect.gen(function*() {
      const app = yield* run({ options: ["--log-format", "json", ...soon] })
      yield* app.waitFor(/"event":"Ready"/)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/"event":"Replaced"/)
      yield* signal(app.pid, "SIGTERM")
      yield* app.exit
      const events = app.lines().filter((line) => line.startsWith("{")).map((line) =>
        JSON.parse(line) as Record<string, unknown>
      )
      for (const { level, message, supervisor, time } of events) {
        assert.deepStrictEqual([typeof level, typeof message, supervisor, typeof time], [
          "string",
          "string",
          app.pid,
          "string"
        ])
      }
      const named = (event: string) => events.filter((line) => line["event"] === event)
      assert.deepStrictEqual(named("Started").map(({ generation }) => generation), [1, 2])
      assert.deepStrictEqual(named("Ready").map(({ pid }) => pid), named("Started").map(({ pid }) => pid))
      assert.deepStrictEqual(named("Exited").map(({ expected, status }) => [expected, status]), [
        [true, "exited with code 0"],
        [true, "exited with code 0"]
      ])
      assert.strictEqual(named("Stopped").length, 1)
    }))

  it.scopedLive("is little with --quiet, and more with -v", () =>
    Effect.gen(function*() {
      const quiet = yield* run({ options: ["--quiet", ...soon], command: ["sh", "-c", "sleep 2"] })
      yield* quiet.exit
      assert.deepStrictEqual(quiet.lines(), [])
      const wrong = yield* run({ options: ["-q"], command: ["sh", "-c", "exit 3"] })
      yield* wrong.exit
      assert.strictEqual(wrong.count(/ERROR tableflip:/), 1)
      const verbose = yield* run({ options: ["-vv", ...soon] })
      const pid = yield* ready(verbose, 1)
      yield* signal(verbose.pid, "SIGUSR2")
      yield* verbose.waitFor(/DEBUG tableflip: SIGUSR2: passing it on/)
      yield* eventually("the end of it, which has no handler", () => !isAlive(pid))
    }))
})

describe.runIf(isLinux)("a program that opens its port by itself", () => {
  it.scopedLive("goes on when a reload cannot have it, and the log says what would help", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const app = yield* run({
        options: [...soon],
        command: [process.execPath, "-e", `require("node:http").createServer().listen(${port}, "127.0.0.1")`]
      })
      yield* ready(app, 1)
      yield* signal(app.pid, "SIGHUP")
      yield* app.waitFor(/It opens a port that is taken.*--listen/)
    }))
})

describe.runIf(isLinux)("a terminal", () => {
  const under = (options: ReadonlyArray<string>, command: ReadonlyArray<string>) =>
    start(fixture("commands/terminal.py"), {
      executable: "python3",
      // Long enough to be told twice, if somebody does.
      env: { STOP_TAKES: "700" },
      args: [process.execPath, bin, "run", ...options, "--", ...command],
      extra: ["pipe"]
    })

  it.scopedLive("stays with the command, whose Ctrl-C stops it once, after any number of reloads", () =>
    Effect.gen(function*() {
      const terminal = yield* under(["--warmup", "0.3"], server)
      const { 1: pid } = yield* terminal.waitFor(/process (\d+) takes over/)
      const type = (text: string) => Effect.sync(() => void terminal.stdio(3).write(text))
      for (let generation = 1; generation <= 4; generation++) {
        const current = yield* ready(terminal, generation)
        // state, parent, group, session, terminal, foreground
        const fields = fs.readFileSync(`/proc/${current}/stat`, "utf8").split(") ")[1]!.split(" ")
        assert.strictEqual(fields[2], fields[5], "in the foreground")
        if (generation < 4) yield* signal(Number(pid), "SIGHUP")
      }
      yield* terminal.waitFor(/generation 4 has taken over/)
      const last = yield* ready(terminal, 4)
      yield* terminal.waitFor(new RegExp(`UP ${last} `))
      yield* type("\u0003")
      yield* terminal.waitFor(/^ENDED 0/)
      assert.strictEqual(terminal.count(new RegExp(`STOP ${last} `)), 1)
      assert.strictEqual(terminal.count(new RegExp(`STOP ${last} SIGINT 1`)), 1)
      // The prompt comes back when the command has ended, and not before.
      const lines = terminal.lines()
      assert.isBelow(
        lines.findIndex((line) => line.startsWith(`DOWN ${last}`)),
        lines.findIndex((line) => line.startsWith("ENDED"))
      )
    }))

  it.scopedLive("that goes away stops the command", () =>
    Effect.gen(function*() {
      const terminal = yield* under(["--warmup", "0.3"], ["sh", "-c", "trap '' HUP; sleep 60 & wait"])
      const { 1: pid } = yield* terminal.waitFor(/process (\d+) takes over/)
      const command = yield* ready(terminal, 1)
      yield* signal(terminal.pid, "SIGKILL")
      yield* eventually("the end of both", () => !isAlive(Number(pid)) && !isAlive(command))
    }))
})

describe.runIf(isLinux && spawnSync("unshare", ["--pid", "--fork", "true"]).status === 0)("as process 1", () => {
  it.scopedLive("it reloads and stops, whatever an older container left in the PID file", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const file = path.join(yield* directory, "tableflip.pid")
      fs.writeFileSync(file, "1\n")
      const container = yield* start(undefined, {
        executable: "unshare",
        args: [
          "--pid",
          "--fork",
          "--mount-proc",
          process.execPath,
          bin,
          "run",
          "--pid-file",
          file,
          "--listen",
          `127.0.0.1:${port}`,
          ...soon,
          "--",
          ...server
        ]
      })
      yield* container.waitFor(/This is process 1/)
      yield* container.waitFor(/generation 1: process \d+ is ready/)
      assert.strictEqual(fs.readFileSync(file, "utf8"), "1\n")
      const init = children(container.pid)[0]!.pid
      yield* signal(init, "SIGHUP")
      yield* container.waitFor(/generation 2 has taken over/)
      yield* ask(port)
      yield* signal(init, "SIGTERM")
      assert.strictEqual((yield* container.exit).code, 0)
      yield* container.waitFor(/^DOWN/)
      assert.isFalse(fs.existsSync(file))
      yield* onlyAlive(container, [])
    }))
})

describe.runIf(isLinux)("a signal that comes before everything is loaded", () => {
  it.scopedLive("does not end it by its default action, or ends it with the usual code", () =>
    Effect.gen(function*() {
      const hurried = yield* run({ options: soon })
      yield* eventually("the handler", () => {
        const caught = /SigCgt:\s+(\w+)/.exec(fs.readFileSync(`/proc/${hurried.pid}/status`, "utf8"))?.[1]
        return caught !== undefined && (BigInt(`0x${caught}`) & 1n) === 1n
      })
      yield* signal(hurried.pid, "SIGHUP")
      yield* ready(hurried, 1)
      assert.strictEqual(commands(hurried).length, 1)
    }))
})
