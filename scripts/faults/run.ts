/** One run of one case: the fault in an upgrade, and everything that has to hold after it. */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Load } from "../../test/kit/clients.ts"
import { load } from "../../test/kit/clients.ts"
import { descriptorsAtRest, sameDescriptors } from "../../test/kit/descriptors.ts"
import { directory, pidIn } from "../../test/kit/files.ts"
import { freePort } from "../../test/kit/ports.ts"
import { children, isAlive } from "../../test/kit/proc.ts"
import { signal, start } from "../../test/kit/processes.ts"
import { sameState, stateOf } from "../../test/kit/state.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Case, Outcome, Running } from "./case.ts"
import type { Trial } from "./trial.ts"
import { answersOf, check, checkAlways, putBack, seen, settled, trial } from "./trial.ts"

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

const outcomeOf = (running: Running, pid: number | undefined): Outcome =>
  pid === undefined ? "nobody" : isFirst(running, pid) ? "parent" : "child"

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
  checkAlways(problems, { app, clients, loses: one.loses, plan: one.plan, isOptional: one.isOptional })
}

/** It alone answers, its PID file is true, it has no child left and nobody's zombie. */
const serves = (running: Running, pid: number) =>
  Effect.gen(function*() {
    const { app, pidFile, socket, up } = running
    const others = (yield* answersOf([up.port, up.port, up.port, socket, socket])).filter((other) => other !== pid)
    if (others.length > 0) yield* Effect.dieMessage(`${others.join(", ")} answer, and not only ${pid}`)
    yield* eventually(`the PID file to name ${pid}`, () => pidIn(pidFile(pid)) === pid, {
      within: "5 seconds",
      seen: () => `it names ${pidIn(pidFile(pid))}`
    })
    if (children(pid).length > 0) {
      yield* Effect.dieMessage(`process ${pid} has children: ${JSON.stringify(children(pid))}`)
    }
    if (String(app.alive()) !== String(pid)) yield* Effect.dieMessage(`alive: ${app.alive().join(", ")}`)
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

const attempt = (one: Case, problems: Array<string>) =>
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
      const { pid } = yield* settled("one process to serve, or none", app, () => survivor(running))
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
    return yield* seen({ app, clients, problems, errors: () => failures(running) }, judged)
  })

export const trialOf = (one: Case): Trial => trial(one, (problems) => attempt(one, problems))
