/** One run of one case: the fault, and everything that has to hold after it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import type { Load } from "../../test/process/harness.ts"
import {
  ask,
  children,
  descriptorsAtRest,
  directory,
  eventually,
  fixture,
  isAlive,
  load,
  pidIn,
  sameDescriptors,
  sameState,
  signal,
  start,
  stateOf
} from "../../test/process/harness.ts"
import type { Case, Outcome, Plan, Running } from "./case.ts"

export interface Result {
  readonly name: string
  readonly drawn: string | undefined
  /** Who served in the end; none if the run did not get that far. */
  readonly outcome: Outcome | undefined
  /** Tags of the errors that were told. */
  readonly errors: ReadonlyArray<string>
  readonly requests: number
  readonly lost: number
  /** Milliseconds. */
  readonly took: number
  /** What does not hold. */
  readonly problems: ReadonlyArray<string>
  /** What the processes said, if there is a problem. */
  readonly said: string
}

// Below the ports that the system gives to clients, so that a successor that has to bind anew finds it free.
let nextPort = 20_000 + process.pid % 10_000

const freePort: Effect.Effect<number> = Effect.async<number | undefined>((resume) => {
  const port = nextPort++
  const probe = net.createServer().once("error", () => resume(Effect.succeed(undefined)))
  probe.listen(port, "127.0.0.1", () => probe.close(() => resume(Effect.succeed(port))))
}).pipe(Effect.repeat({ until: (port) => port !== undefined }), Effect.map((port) => port as number))

/** A process that is being started, or one that is to end, is not the last word. */
const isBusy = ({ app }: Running, pid: number): boolean =>
  app.count(new RegExp(`^EVENT ${pid} Stopped`)) > 0 ||
  app.count(new RegExp(`^EVENT ${pid} UpgradeStarted`)) >
    app.count(new RegExp(`^EVENT ${pid} (Upgraded|UpgradeFailed)`))

const isFirst = (running: Running, pid: number) => pid === running.up.pid

/** The errors with which upgrades have failed, as the events tell them. */
const failures = ({ app }: Running): ReadonlyArray<string> =>
  app.lines().flatMap((line) => /^EVENT \d+ UpgradeFailed (.*)/.exec(line)?.[1] ?? [])

/** Whose turn it is when nothing moves any more; undefined while something does. */
const survivor = (running: Running): { readonly pid: number | undefined } | undefined => {
  const { app, up } = running
  const alive = app.alive()
  if (alive.length === 0) return isAlive(up.pid) ? undefined : { pid: undefined }
  const [pid] = alive
  if (alive.length > 1 || pid === undefined) return undefined
  const isSettled = isFirst(running, pid)
    ? failures(running).length > 0
    : app.count(new RegExp(`^(ALONE ${pid}|EVENT ${pid} ParentExited)`)) > 0 && app.count(new RegExp(`^UP ${pid} `)) > 0
  return isSettled && !isBusy(running, pid) ? { pid } : undefined
}

/** A process shows no environment, by which it is found, for a moment while it is started. */
const calm = 100

const settled = (running: Running) =>
  Effect.suspend(() => {
    let since = performance.now()
    let before: number | undefined | false = false
    let nextLook = 0
    return eventually("one process to serve, or none", () => {
      // It takes every process of the machine to find ours, and the clients are in this one.
      if (performance.now() < nextLook) return undefined
      nextLook = performance.now() + calm / 4
      const found = survivor(running)
      const now = found === undefined ? false : found.pid
      if (now === false || now !== before) since = performance.now()
      before = now
      return performance.now() - since >= calm && found
    }, {
      within: "60 seconds",
      seen: () => `alive: ${running.app.alive().join(", ")}\n${running.app.dump()}`
    })
  })

const outcomeOf = (running: Running, pid: number | undefined): Outcome =>
  pid === undefined ? "nobody" : isFirst(running, pid) ? "parent" : "child"

const check = (problems: Array<string>, holds: boolean, what: () => string) => {
  if (!holds) problems.push(what())
}

const requestsOf = (clients: Load) => [...clients.answers.values()].reduce((sum, count) => sum + count, 0)

const sound = /ended by a defect|failed to answer a message|nhandled|Warning:|FATAL/

/** What has to hold whoever serves. */
const checkAll = (
  problems: Array<string>,
  one: Case,
  running: Running,
  outcome: Outcome,
  clients: Load
) => {
  const { app } = running
  const errors = failures(running)
  const allowed = typeof one.outcome === "function" ? one.outcome(app) : one.outcome
  check(problems, allowed.includes(outcome), () => `served by ${outcome}, not by ${allowed.join(" or ")}`)
  if (outcome === "parent") {
    check(problems, errors.length === 1, () => `${errors.length} failures were told`)
    check(problems, one.error?.test(errors[0] ?? "") === true, () => `the error is ${errors[0]}`)
    const logged = app.lines().filter((line) => line.startsWith(`LOG ${running.up.pid} ERROR`))
    const told = logged.filter((line) => !/An upgrade is already in progress/.test(line))
    check(problems, told.length === 1, () => `the error was logged ${told.length} times: ${told.join("; ")}`)
  }
  // A parent that was killed says nothing at its end.
  const exit = app.lines().findIndex((line) => line.startsWith(`EXIT ${running.up.pid} `))
  const alone = app.lines().findIndex((line) => line.startsWith("ALONE ") && line !== `ALONE ${running.up.pid}`)
  check(
    problems,
    one.cutsLifeline === true || exit < 0 || alone < 0 || exit < alone,
    () => "the child was told of the end of the parent before it"
  )
  const strange = app.lines().filter((line) => sound.test(line))
  check(problems, strange.length === 0, () => `said: ${strange.join("; ")}`)
  const lost = clients.failures.filter((failure) => one.loses?.test(failure) !== true)
  const kinds = [...new Set(lost)].map((kind) => `${lost.filter((other) => other === kind).length} x ${kind}`)
  check(problems, lost.length === 0, () => `requests were lost: ${kinds.join(", ")}`)
  for (const { fault, step } of one.isOptional === true ? [] : Object.values(one.plan ?? {})) {
    const line = new RegExp(`^FAULT \\d+ ${step.replaceAll(" ", "-")} ${fault}`)
    check(problems, app.count(line) > 0, () => `the fault did not happen: ${fault}, ${step}`)
  }
}

/** It alone answers, its PID file is true, it has no child left and nobody's zombie. */
const serves = (running: Running, pid: number) =>
  Effect.gen(function*() {
    const { app, pidFile, socket, up } = running
    for (const target of [up.port, up.port, up.port, socket, socket]) {
      const answer = yield* Effect.orDieWith(ask(target), (error) => new Error(`no answer: ${error.message}`))
      if (answer.pid !== pid) yield* Effect.dieMessage(`process ${answer.pid} answers at ${target}, not ${pid}`)
    }
    yield* eventually(`the PID file to name ${pid}`, () => pidIn(pidFile(pid)) === pid, {
      within: "5 seconds",
      seen: () => `it names ${pidIn(pidFile(pid))}`
    })
    if (children(pid).length > 0) {
      yield* Effect.dieMessage(`process ${pid} has children: ${JSON.stringify(children(pid))}`)
    }
    if (String(app.alive()) !== String(pid)) yield* Effect.dieMessage(`alive: ${app.alive().join(", ")}`)
  })

const putBack = (program: string, plan: Plan) =>
  Effect.sync(() => {
    fs.writeFileSync(program, `import ${JSON.stringify(fixture("faulty.mjs"))}\n`)
    fs.writeFileSync(`${program}.plan`, JSON.stringify(plan))
  })

/** The survivor can be upgraded, and its successor stopped; then nothing is left. */
const goesOn = (one: Case, running: Running, pid: number) =>
  Effect.gen(function*() {
    const { app, dir, pidFile, program, socket } = running
    yield* one.repair?.(running) ?? Effect.void
    yield* putBack(program, {})
    const before = yield* descriptorsAtRest(pid)
    const known = new Set(app.lines().flatMap((line) => /^UP (\d+)/.exec(line)?.[1] ?? []))
    yield* signal(pid, "SIGHUP")
    const next = yield* eventually("the next upgrade", () => {
      const found = app.lines().flatMap((line) => /^UP (\d+)/.exec(line)?.[1] ?? []).find((pid) => !known.has(pid))
      return found !== undefined && Number(found)
    }, { within: "30 seconds", seen: app.dump })
    yield* app.waitFor(new RegExp(`^(ALONE ${next}|EVENT ${next} ParentExited)`), "30 seconds")
    yield* eventually("the older process to go", () => String(app.alive()) === String(next), { seen: app.dump })
    yield* serves(running, next)
    // A process that has had a parent is compared with one that has had one too.
    if (!isFirst(running, pid)) yield* sameDescriptors(next, before)
    yield* signal(next, "SIGTERM")
    yield* eventually("the end", () => app.alive().length === 0, { seen: app.dump })
    if (fs.existsSync(pidFile(next))) yield* Effect.dieMessage("the PID file is left behind")
    if (fs.existsSync(socket)) yield* Effect.dieMessage("the Unix socket is left behind")
    const left = fs.readdirSync(dir).filter((name) => name.startsWith("."))
    if (left.length > (one.leavesTemporary === true ? 1 : 0)) {
      yield* Effect.dieMessage(`temporary files are left: ${left.join(" ")}`)
    }
  })

const attempt = (
  one: Case,
  problems: Array<string>
): Effect.Effect<Omit<Result, "name" | "drawn" | "took" | "problems">, never, Scope.Scope> =>
  Effect.gen(function*() {
    const dir = yield* directory
    const program = path.join(dir, "main.mjs")
    const { args = [], cwd, executable, mount } = one.launch?.(dir) ?? {}
    const pidPath = path.join(mount ?? dir, "app.pid")
    const socket = path.join(dir, "app.sock")
    const port = yield* freePort
    yield* putBack(program, one.plan ?? {})
    const begin = performance.now()
    const app = yield* start(executable === undefined ? program : undefined, {
      ...executable === undefined ? {} : { executable, args: [...args, program] },
      ...cwd === undefined ? {} : { cwd },
      env: { PLAN: `${program}.plan` },
      app: { listen: [{ host: "127.0.0.1", port }, { path: socket }], upgrader: { pidFile: pidPath, ...one.upgrader } }
    })
    const up = yield* app.up(1)
    const running: Running = {
      app,
      up,
      startTime: performance.now() - begin,
      dir,
      program,
      socket,
      pidFile: (pid) => mount === undefined ? pidPath : `/proc/${pid}/root${pidPath}`
    }
    const before = yield* stateOf(app, running.up.pid)
    // A process that is stopped for a while keeps its clients waiting, and answers them after that.
    const clients = yield* load(port, 3, 30_000)
    const judged = Effect.gen(function*() {
      yield* one.prepare?.(running) ?? Effect.void
      yield* one.ask?.(running) ?? signal(running.up.pid, "SIGHUP")
      yield* one.disturb?.(running) ?? Effect.void
      const { pid } = yield* settled(running)
      yield* clients.stop
      const outcome = outcomeOf(running, pid)
      checkAll(problems, one, running, outcome, clients)
      if (pid !== undefined) {
        yield* serves(running, pid)
        if (outcome === "parent") {
          yield* one.leavesHandles === true
            ? sameDescriptors(pid, before.descriptors)
            : sameState(app, pid, before)
        }
        yield* goesOn(one, running, pid)
      }
      return outcome
    })
    const exit = yield* Effect.exit(judged)
    if (Exit.isFailure(exit)) problems.push(Cause.pretty(exit.cause).split("\n")[0]!)
    return {
      outcome: Exit.isSuccess(exit) ? exit.value : undefined,
      errors: failures(running).map((failure) => failure.split(" ")[0]!),
      requests: requestsOf(clients) + clients.failures.length,
      lost: clients.failures.length,
      said: problems.length > 0 ? app.dump() : ""
    }
  })

export const run = (one: Case): Effect.Effect<Result> =>
  Effect.gen(function*() {
    const begin = performance.now()
    const problems: Array<string> = []
    const exit = yield* Effect.exit(Effect.scoped(attempt(one, problems)))
    if (Exit.isFailure(exit)) problems.push(Cause.pretty(exit.cause).split("\n")[0]!)
    const seen = Exit.isSuccess(exit)
      ? exit.value
      : { outcome: undefined, errors: [], requests: 0, lost: 0, said: Cause.pretty(exit.cause) }
    return { name: one.name, drawn: one.drawn, took: performance.now() - begin, problems, ...seen }
  })
