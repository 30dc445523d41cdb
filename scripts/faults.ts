/**
 * Every way to break an upgrade, tried by a machine: each fault at each step of the hand-over on both sides, and many runs
 * drawn by lot. After each one: who serves, is the PID file true, is anything left over, was the error told once. Ends
 * with exit code 1 if anything does not hold.
 *
 *     npm run faults [-- --quick] [--runs 500] [--seed 1] [--run 137] [--minutes 30] [--jobs 2] [--output build/faults]
 *                    [--repeat 1] [--list] ["child: kill" "signals" …]
 *
 * With `--quick` it takes every tenth of them.
 */
import * as Effect from "effect/Effect"
import * as os from "node:os"
import { parseArgs } from "node:util"
import { trials } from "./faults/all.ts"
import { randomTrial } from "./faults/random.ts"
import * as report from "./faults/report.ts"
import type { Result, Trial } from "./faults/trial.ts"

const { positionals: names, values } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: "string", default: String(Math.max(1, Math.min(4, os.cpus().length))) },
    list: { type: "boolean", default: false },
    minutes: { type: "string", default: "30" },
    output: { type: "string", default: "build/faults" },
    repeat: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
    run: { type: "string", multiple: true, default: [] },
    runs: { type: "string", default: "100" },
    seed: { type: "string", default: "1" }
  }
})

const number = (name: "jobs" | "minutes" | "repeat" | "runs" | "seed"): number => {
  const value = Number(values[name])
  if (Number.isFinite(value) && value >= 0) return value
  console.error(`--${name} is ${values[name]}; it must be a number`)
  return process.exit(2)
}

const seed = number("seed")

const chosen = (): ReadonlyArray<Trial> => {
  if (values.run.length > 0) return values.run.map((index) => randomTrial(seed, Number(index)))
  const named = trials.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)))
  const drawn = names.length > 0 && !names.includes("random")
    ? []
    : Array.from({ length: number("runs") }, (_, index) => randomTrial(seed, index))
  return Array.from({ length: number("repeat") }, () => [...named, ...drawn]).flat()
}

const all = chosen().filter((_, index) => !values.quick || index % 10 === 0)
if (all.length === 0) {
  console.error(`There is no case with ${names.join(" or ")} in its name; --list names them`)
  process.exit(2)
}
if (values.list) {
  for (const { drawn, name } of all) console.log(drawn === undefined ? name : `${name} ${drawn}`)
  process.exit()
}
if (process.platform !== "linux") {
  console.error("The faults look at processes in /proc, which is Linux")
  process.exit(2)
}

const skipped = all.flatMap(({ name, skipped }) => {
  const reason = skipped?.()
  return reason === undefined ? [] : [[name, reason] as const]
})
const left = all.filter(({ name }) => !skipped.some(([other]) => other === name))
for (const [name, reason] of skipped) console.log(`${name}: skipped, ${reason}`)

const deadline = performance.now() + number("minutes") * 60_000
const results: Array<Result> = []

const tell = ({ drawn = "", name, outcome, problems, said, took }: Result) => {
  const verdict = problems.length === 0 ? "ok" : "FAILED"
  console.log(`${verdict}  ${name} ${drawn} (${outcome ?? "?"}, ${(took / 1000).toFixed(1)} s)`)
  if (problems.length > 0) console.log(`${problems.map((problem) => `  ${problem}`).join("\n")}\n${said}`)
}

const job = Effect.suspend(() => left[next++]!.run).pipe(
  Effect.tap((result) => {
    results.push(result)
    tell(result)
    return Effect.void
  })
)
let next = 0
const worker = Effect.whileLoop({
  while: () => next < left.length && performance.now() < deadline,
  body: () => job,
  step: () => {}
})
console.log(`Node ${process.version}, ${left.length} runs, seed ${seed}\n`)
await Effect.runPromise(Effect.all(Array.from({ length: number("jobs") }, () => worker), { concurrency: "unbounded" }))

const notRun = left.length - next
const failed = results.filter(({ problems }) => problems.length > 0)
const files = report.write(values.output, { seed, results, skipped, notRun })
console.log(
  `\n${results.length} runs, ${failed.length} failed, ${skipped.length} skipped, ${notRun} not run for want of time`
)
for (const { drawn, name } of failed) {
  const [, index] = /^#(\d+)/.exec(drawn ?? "") ?? []
  console.log(`Failed: ${index === undefined ? name : `npm run faults -- --seed ${seed} --run ${index} (${name})`}`)
}
console.log(`The table is in ${files.join(" and ")}`)
process.exitCode = failed.length > 0 || notRun > 0 ? 1 : 0
