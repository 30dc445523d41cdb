/**
 * Real processes for tests: started, watched by the lines they print, asked over new connections, and ended for sure.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { spawn, spawnSync } from "node:child_process"
import type { StdioOptions } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** The directory of the package, from here and from where the scripts are compiled to. */
export const root: string = (() => {
  let dir = path.dirname(fileURLToPath(import.meta.url))
  while (!fs.existsSync(path.join(dir, "package.json"))) dir = path.dirname(dir)
  return dir
})()

export const fixture = (name: string): string => path.join(root, "test/fixtures", name)

/** The command `tableflip`, as it was built. */
export const bin = path.join(root, "dist/bin.js")

/** Everything here reads /proc. */
export const isLinux = process.platform === "linux"

// ---------------------------------------------------------------------------------------------------------------------
// Waiting
// ---------------------------------------------------------------------------------------------------------------------

/** Polls until the value is there; dies with a description of what was seen if it does not come. */
export const eventually = <A>(
  what: string,
  look: () => A | undefined | false,
  options: { readonly within?: Duration.DurationInput; readonly seen?: () => string } = {}
): Effect.Effect<A> =>
  Effect.suspend(() => {
    let found: A | undefined | false
    const poll = Effect.sync(() => {
      found = look()
      return found !== undefined && found !== false
    })
    return Effect.as(
      Effect.repeat(poll, { until: (isThere) => isThere, schedule: Schedule.spaced("5 millis") }),
      Effect.sync(() => found as A)
    )
  }).pipe(
    Effect.flatten,
    Effect.timeoutFailCause({
      duration: options.within ?? "15 seconds",
      onTimeout: () => Cause.die(new Error(`waited in vain for ${what}\n${options.seen?.() ?? ""}`))
    })
  )

// ---------------------------------------------------------------------------------------------------------------------
// Looking at processes
// ---------------------------------------------------------------------------------------------------------------------

// oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
const sorted = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => [...items].sort()

const readOrEmpty = (file: string): string => {
  try {
    return fs.readFileSync(file, "latin1")
  } catch {
    return ""
  }
}

const linkOrEmpty = (file: string): string => {
  try {
    return fs.readlinkSync(file)
  } catch {
    return ""
  }
}

interface Stat {
  readonly state: string
  readonly parent: number
}

const statOf = (pid: number): Stat | undefined => {
  const text = readOrEmpty(`/proc/${pid}/stat`)
  const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ")
  return state === undefined || state === "" || parent === undefined ? undefined : { state, parent: Number(parent) }
}

const pids = (): ReadonlyArray<number> => fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number)

/** A zombie is not alive. */
export const isAlive = (pid: number): boolean => {
  const state = statOf(pid)?.state
  return state !== undefined && state !== "Z" && state !== "X"
}

/** Children of a process, zombies too. */
export const children = (pid: number): ReadonlyArray<{ readonly pid: number; readonly state: string }> =>
  pids().flatMap((child) => {
    const stat = statOf(child)
    return stat?.parent === pid ? [{ pid: child, state: stat.state }] : []
  })

/** What the descriptors of a process are: `socket`, `pipe`, `anon_inode:[eventpoll]`, a path. Sorted, without inodes. */
export const openDescriptors = (pid: number): ReadonlyArray<string> =>
  sorted(
    fs.readdirSync(`/proc/${pid}/fd`)
      .map((name) => linkOrEmpty(`/proc/${pid}/fd/${name}`))
      .filter((target) => target !== "")
      .map((target) => target.replace(/:\[\d+\]$/, "").replace(/tableflip-\w+/, "tableflip"))
  )

/** Inodes of the TCP sockets of this machine that are connections, whether their other end still is or not. */
const connections = (): ReadonlySet<string> => {
  const rows = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => readOrEmpty(file).trim().split("\n").slice(1))
  const listening = "0A"
  return new Set(rows.map((row) => row.trim().split(/\s+/)).filter((row) => row[3] !== listening).map((row) => row[9]!))
}

/** The same list once each client has been let go: a server closes a connection a moment after its client has the answer. */
export const descriptorsAtRest = (pid: number): Effect.Effect<ReadonlyArray<string>> =>
  eventually(`process ${pid} to have no connection`, () => {
    const open = connections()
    const targets = fs.readdirSync(`/proc/${pid}/fd`).map((name) => linkOrEmpty(`/proc/${pid}/fd/${name}`))
    return !targets.some((target) => open.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? "")) && openDescriptors(pid)
  })

const withMarker = (marker: string): ReadonlyArray<number> =>
  pids().filter((pid) => isAlive(pid) && readOrEmpty(`/proc/${pid}/environ`).includes(marker))

/** Whether there was nothing left to kill. */
const killAll = (marker: string): boolean => {
  const left = withMarker(marker)
  for (const pid of left) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It ended in between.
    }
  }
  return left.length === 0
}

// ---------------------------------------------------------------------------------------------------------------------
// Starting processes
// ---------------------------------------------------------------------------------------------------------------------

export interface StartOptions {
  readonly args?: ReadonlyArray<string>
  readonly nodeFlags?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** What the fixtures find in `APP`. */
  readonly app?: unknown
  /** Another program than Node. */
  readonly executable?: string
  readonly argv0?: string
  readonly detached?: boolean
  /** From descriptor 3 on. */
  readonly extra?: ReadonlyArray<number | "pipe" | "ignore">
  readonly stdin?: string
}

export interface Handle {
  readonly pid: number
  /** All that this process and its successors have printed. */
  readonly lines: () => ReadonlyArray<string>
  readonly waitFor: (pattern: RegExp, within?: Duration.DurationInput) => Effect.Effect<RegExpExecArray>
  readonly count: (pattern: RegExp) => number
  /** Waits until as many such lines have been printed. */
  readonly waitForCount: (pattern: RegExp, count: number) => Effect.Effect<void>
  readonly up: (generation: number) => Effect.Effect<Up>
  /** How this process, not its successors, has ended. */
  readonly exit: Effect.Effect<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** Every process alive that descends from this one, this one too: they share a variable that nobody else has. */
  readonly alive: () => ReadonlyArray<number>
  readonly stdio: (index: number) => NodeJS.ReadWriteStream
  readonly dump: () => string
}

export interface Up {
  readonly pid: number
  readonly generation: number
  readonly port: number
  readonly hasParent: boolean
}

const parseUp = (match: RegExpExecArray): Up => ({
  pid: Number(match[1]),
  generation: Number(match[2]),
  port: Number(match[3]),
  hasParent: match[4] === "true"
})

export const start = (
  script: string | undefined,
  options: StartOptions = {}
): Effect.Effect<Handle, never, Scope.Scope> =>
  Effect.gen(function*() {
    const marker = `TEST_MARKER=${randomUUID()}`
    const exit = yield* Deferred.make<{ code: number | null; signal: NodeJS.Signals | null }>()
    // With certificates to load, newer releases of Node have the file open for a while after the start.
    const { NODE_EXTRA_CA_CERTS: _, NODE_OPTIONS: __, ...own } = process.env
    const stdio: StdioOptions = [
      options.stdin === undefined ? "ignore" : "pipe",
      "pipe",
      "pipe",
      ...options.extra ?? []
    ]
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          options.executable ?? process.execPath,
          [...options.nodeFlags ?? [], ...script === undefined ? [] : [script], ...options.args ?? []],
          {
            stdio,
            detached: options.detached === true,
            ...options.cwd === undefined ? {} : { cwd: options.cwd },
            ...options.argv0 === undefined ? {} : { argv0: options.argv0 },
            env: {
              ...own,
              PWD: options.cwd ?? process.cwd(),
              TEST_MARKER: marker.slice(marker.indexOf("=") + 1),
              ...options.app === undefined ? {} : { APP: JSON.stringify(options.app) },
              ...options.env
            }
          }
        )
      ),
      (child) =>
        Effect.gen(function*() {
          yield* eventually("the end of every process of this test", () => killAll(marker))
          child.stdout?.destroy()
          child.stderr?.destroy()
          for (const stream of child.stdio) (stream as { destroy?: () => void } | null)?.destroy?.()
        })
    )
    child.on("error", () => {})
    for (const stream of child.stdio) stream?.on("error", () => {})
    child.once("exit", (code, signal) => Deferred.unsafeDone(exit, Effect.succeed({ code, signal })))
    if (options.stdin !== undefined) child.stdin?.end(options.stdin)
    const lines: Array<string> = []
    const collect = (stream: NodeJS.ReadableStream | null) => {
      let rest = ""
      stream?.setEncoding("utf8")
      stream?.on("data", (text: string) => {
        const parts = (rest + text).split("\n")
        rest = parts.pop() ?? ""
        lines.push(...parts)
      })
    }
    collect(child.stdout)
    collect(child.stderr)
    const dump = () => lines.map((line) => `  | ${line}`).join("\n")
    const waitFor: Handle["waitFor"] = (pattern, within) =>
      eventually(`a line like ${pattern}`, () => {
        for (const line of lines) {
          const match = pattern.exec(line)
          if (match !== null) return match
        }
        return undefined
      }, { ...within === undefined ? {} : { within }, seen: dump })
    return {
      pid: child.pid!,
      lines: () => lines,
      waitFor,
      count: (pattern) => lines.filter((line) => pattern.test(line)).length,
      waitForCount: (pattern, count) =>
        Effect.asVoid(eventually(
          `${count} lines like ${pattern}`,
          () => lines.filter((line) => pattern.test(line)).length >= count,
          { seen: dump }
        )),
      up: (generation) => Effect.map(waitFor(new RegExp(`^UP (\\d+) (${generation}) (\\d+) (true|false)`)), parseUp),
      exit: Deferred.await(exit).pipe(
        Effect.timeoutFailCause({
          duration: "15 seconds",
          onTimeout: () => Cause.die(new Error(`process ${child.pid} has not ended\n${dump()}`))
        })
      ),
      alive: () => withMarker(marker),
      stdio: (index) => child.stdio[index] as unknown as NodeJS.ReadWriteStream,
      dump
    }
  })

/** Signals a process that this test has started. */
export const signal = (pid: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.sync(() => void process.kill(pid, name))

/** Nothing is left but these processes, neither of ours nor as a zombie of theirs. */
export const onlyAlive = (handle: Handle, expected: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.asVoid(eventually(
    `only ${expected.join(", ")} to be alive`,
    () =>
      String(sorted(handle.alive())) === String(sorted(expected)) &&
      expected.every((pid) => children(pid).every(({ pid }) => expected.includes(pid))),
    { seen: () => `alive: ${handle.alive().join(", ")}\n${handle.dump()}` }
  ))

/** Sockets of clients that have just been served take a moment to go. */
export const sameDescriptors = (pid: number, before: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.asVoid(eventually(
    `process ${pid} to have the same descriptors as before`,
    () => String(openDescriptors(pid)) === String(before),
    { within: "5 seconds", seen: () => `before: ${before.join(" ")}\nnow:    ${openDescriptors(pid).join(" ")}` }
  ))

/** What a fixture has open and running: sockets, pipes, timers, processes, as Node tells. */
const resources = (handle: Handle, pid: number): Effect.Effect<string> =>
  Effect.suspend(() => {
    const told = () => handle.lines().filter((line) => line.startsWith(`RESOURCES ${pid} `))
    const before = told().length
    process.kill(pid, "SIGUSR2")
    return eventually("the fixture to tell its resources", () => told()[before]?.split(" ")[2] ?? false)
  })

export interface State {
  readonly descriptors: ReadonlyArray<string>
  readonly resources: string
}

export const stateOf = (handle: Handle, pid: number): Effect.Effect<State> =>
  Effect.all({ descriptors: descriptorsAtRest(pid), resources: resources(handle, pid) })

/** No descriptor, timer or process has been left in it since, and none is missing. */
export const sameState = (handle: Handle, pid: number, before: State): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* sameDescriptors(pid, before.descriptors)
    let now = ""
    yield* Effect.repeat(Effect.map(resources(handle, pid), (resources) => void (now = resources)), {
      until: () => now === before.resources,
      schedule: Schedule.spaced("50 millis")
    }).pipe(
      Effect.timeoutFailCause({
        duration: "5 seconds",
        onTimeout: () => Cause.die(new Error(`resources before: ${before.resources}\nnow: ${now}`))
      })
    )
  })

// ---------------------------------------------------------------------------------------------------------------------
// Files
// ---------------------------------------------------------------------------------------------------------------------

/** A directory that is gone after the test. The name is short: Unix paths are. */
export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "tf-")))),
  (dir) =>
    Effect.sync(() => {
      fs.chmodSync(dir, 0o755)
      fs.rmSync(dir, { recursive: true, force: true })
    })
)

export const pidIn = (file: string): number => Number(readOrEmpty(file))

/** Readers of a PID file never see anything but the number of a process. */
export const waitForPid = (file: string, pid: number): Effect.Effect<void> =>
  Effect.asVoid(eventually(`${file} to name ${pid}`, () => pidIn(file) === pid, { seen: () => readOrEmpty(file) }))

/** Puts the code of a version where the program is started from. */
export const deploy = (program: string, code: string): Effect.Effect<void> =>
  Effect.sync(() => {
    fs.writeFileSync(`${program}.new`, code)
    fs.renameSync(`${program}.new`, program)
  })

/** Code of a program that is the fixture. A test puts other code in its place to deploy another version. */
export const goodVersion = (name = "app.mjs"): string => `import ${JSON.stringify(fixture(name))}\n`

const visible = (listing: string): ReadonlyArray<string> =>
  listing.split("\n").flatMap((line) => {
    const [, descriptor, target = ""] = /(\d+) -> (.*)/.exec(line) ?? []
    return descriptor === undefined || Number(descriptor) < 3 || target.startsWith("/proc/")
      ? []
      : [`${descriptor} -> ${target.replace(/:\[\d+\]$/, "")}`]
  })

/** What a program sees of us that the app has started: descriptors that this test itself did not leave open; variables. */
export const ours = (listing: string): ReadonlyArray<string> => {
  const before = visible(spawnSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" }).stdout)
  return [
    ...visible(listing).filter((line) => !before.includes(line)),
    ...listing.split("\n").filter((line) => line.startsWith("TABLEFLIP_"))
  ]
}

// ---------------------------------------------------------------------------------------------------------------------
// Clients
// ---------------------------------------------------------------------------------------------------------------------

/** A port that nobody listens on, for programs that cannot tell which one they were given. */
export const freePort = Effect.async<number>((resume) => {
  const server = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

export interface Answer {
  readonly pid: number
  readonly generation: number
  readonly tag: string
  readonly body: string
}

type Target = number | string | http.RequestOptions

const toOptions = (target: Target): http.RequestOptions =>
  typeof target === "number"
    ? { host: "127.0.0.1", port: target }
    : typeof target === "string"
    ? { socketPath: target }
    : target

/** One request over a connection of its own. */
export const ask = (
  target: Target,
  options: { readonly path?: string; readonly within?: number } = {}
): Effect.Effect<Answer, NodeJS.ErrnoException> =>
  Effect.async((resume) => {
    const { path = "/", within = 10_000 } = options
    const request = http.get({ agent: false, ...toOptions(target), path }, (response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (text: string) => {
        body += text
      })
      response.on("error", (error) => resume(Effect.fail(error)))
      response.on("end", () => {
        const [pid, generation, tag = ""] = body.split(" ")
        resume(Effect.succeed({ pid: Number(pid), generation: Number(generation), tag, body }))
      })
    })
    request.setTimeout(within, () => request.destroy(new Error(`no answer within ${within} ms`)))
    request.on("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => request.destroy())
  })

export interface Load {
  /** Answers by process. */
  readonly answers: Map<number, number>
  readonly failures: Array<string>
  readonly slowest: () => number
  /** Lets the requests in flight finish and starts no more. */
  readonly stop: Effect.Effect<void>
}

/** Clients that ask all the time, each request over a new connection. */
export const load = (target: Target, clients = 3, within = 10_000): Effect.Effect<Load, never, Scope.Scope> =>
  Effect.gen(function*() {
    const answers = new Map<number, number>()
    const failures: Array<string> = []
    let slowest = 0
    let going = true
    const once = Effect.suspend(() => {
      const from = performance.now()
      return Effect.match(ask(target, { within }), {
        onSuccess: ({ pid }) => {
          answers.set(pid, (answers.get(pid) ?? 0) + 1)
          slowest = Math.max(slowest, performance.now() - from)
        },
        onFailure: (error) => {
          failures.push(`${error.code ?? ""} ${error.message}`)
        }
      })
    })
    const client = once.pipe(Effect.zipRight(Effect.sleep("2 millis")), Effect.repeat({ while: () => going }))
    const fibers = yield* Effect.replicateEffect(Effect.forkScoped(client), clients)
    return {
      answers,
      failures,
      slowest: () => slowest,
      stop: Effect.suspend(() => {
        going = false
        return Effect.asVoid(Fiber.joinAll(fibers))
      })
    }
  })
