/** What every run has in common, whatever it breaks. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import type { Load } from "../../test/kit/clients.ts"
import { ask } from "../../test/kit/clients.ts"
import { fixture } from "../../test/kit/paths.ts"
import type { Handle } from "../../test/kit/processes.ts"
import { eventually } from "../../test/kit/waiting.ts"
import type { Plan } from "./case.ts"

export interface Result {
  readonly name: string
  readonly drawn: string | undefined
  /** Who served in the end; none if the run did not get that far. */
  readonly outcome: string | undefined
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

/** A run that has not been made yet. */
export interface Trial {
  readonly name: string
  /** What exactly was drawn, if the case was drawn by lot. */
  readonly drawn?: string
  /** Why it cannot be run here. */
  readonly skipped?: () => string | undefined
  readonly run: Effect.Effect<Result>
}

type Seen = Omit<Result, "name" | "drawn" | "took" | "problems">

const firstLine = (cause: Cause.Cause<never>) => Cause.pretty(cause).split("\n")[0]!

/** `attempt` adds to the problems that it is given, and dies of what makes going on pointless. */
export const trial = (
  { drawn, name, skipped }: Omit<Trial, "run">,
  attempt: (problems: Array<string>) => Effect.Effect<Seen, never, Scope.Scope>
): Trial => ({
  name,
  ...drawn === undefined ? {} : { drawn },
  ...skipped === undefined ? {} : { skipped },
  run: Effect.suspend(() => {
    const begin = performance.now()
    const problems: Array<string> = []
    return Effect.map(Effect.exit(Effect.scoped(attempt(problems))), (exit) => {
      if (Exit.isFailure(exit)) problems.push(firstLine(exit.cause))
      const seen = Exit.isSuccess(exit)
        ? exit.value
        : { outcome: undefined, errors: [], requests: 0, lost: 0, said: Cause.pretty(exit.cause) }
      return { name, drawn, took: performance.now() - begin, problems, ...seen }
    })
  })
})

/** Judges what has happened, and tells what was seen of it. */
export const seen = <R>(
  { app, clients, errors, problems }: {
    readonly app: Handle
    readonly clients: Load
    readonly problems: Array<string>
    readonly errors: () => ReadonlyArray<string>
  },
  judged: Effect.Effect<string, never, R>
): Effect.Effect<Seen, never, R> =>
  Effect.map(Effect.exit(judged), (exit) => {
    if (Exit.isFailure(exit)) problems.push(firstLine(exit.cause))
    const answered = [...clients.answers.values()].reduce((sum, count) => sum + count, 0)
    return {
      outcome: Exit.isSuccess(exit) ? exit.value : undefined,
      errors: errors().map((error) => error.split(" ")[0]!),
      requests: answered + clients.failures.length,
      lost: clients.failures.length,
      said: problems.length > 0 ? app.dump() : ""
    }
  })

export const check = (problems: Array<string>, holds: boolean, what: () => string): void => {
  if (!holds) problems.push(what())
}

const unsound = /ended by a defect|failed to answer a message|nhandled|Warning:|FATAL/

/** What has to hold however it ended. */
export const checkAlways = (
  problems: Array<string>,
  { app, clients, isOptional = false, loses, plan = {} }: {
    readonly app: Handle
    readonly clients: Load
    readonly loses: RegExp | undefined
    readonly plan: Plan | undefined
    readonly isOptional: boolean | undefined
  }
): void => {
  const strange = app.lines().filter((line) => unsound.test(line))
  check(problems, strange.length === 0, () => `said: ${strange.join("; ")}`)
  const lost = clients.failures.filter((failure) => loses?.test(failure) !== true)
  const kinds = [...new Set(lost)].map((kind) => `${lost.filter((other) => other === kind).length} x ${kind}`)
  check(problems, lost.length === 0, () => `requests were lost: ${kinds.join(", ")}`)
  for (const { fault, step } of isOptional ? [] : Object.values(plan)) {
    const line = new RegExp(`^FAULT \\d+ ${step.replaceAll(" ", "-")} ${fault}`)
    check(problems, app.count(line) > 0, () => `the fault did not happen: ${fault}, ${step}`)
  }
}

/** Writes the program anew, with what its processes are to do to themselves. */
export const putBack = (program: string, plan: Plan): Effect.Effect<void> =>
  Effect.sync(() => {
    fs.writeFileSync(program, `import ${JSON.stringify(fixture("faulty.mjs"))}\n`)
    fs.writeFileSync(`${program}.plan`, JSON.stringify(plan))
  })

/** A process shows no environment, by which it is found, for a moment while it is started. */
const calm = 100

/** Waits until the same is found for a moment; undefined means that something is still going on. */
export const settled = <A>(what: string, app: Handle, look: () => A | undefined): Effect.Effect<A> =>
  Effect.suspend(() => {
    let since = performance.now()
    let before: string | undefined
    let nextLook = 0
    return Effect.map(
      eventually(what, () => {
        // It takes every process of the machine to find ours, and the clients are in this one.
        if (performance.now() < nextLook) return undefined
        nextLook = performance.now() + calm / 4
        const found = look()
        const now = found === undefined ? undefined : JSON.stringify(found)
        if (now === undefined || now !== before) since = performance.now()
        before = now
        return performance.now() - since >= calm && { found: found! }
      }, {
        within: "60 seconds",
        seen: () => `alive: ${app.alive().join(", ")}\n${app.dump()}`
      }),
      ({ found }) => found
    )
  })

/** Who answers at each of the targets; dies if one does not. */
export const answersOf = (targets: ReadonlyArray<number | string>): Effect.Effect<ReadonlyArray<number>> =>
  Effect.forEach(targets, (target) =>
    ask(target).pipe(
      Effect.mapError((error) => new Error(`no answer at ${target}: ${error.message}`)),
      Effect.orDie,
      Effect.map(({ pid }) => pid)
    ))
