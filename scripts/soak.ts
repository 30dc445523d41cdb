/**
 * 1,000 upgrades in a row under light load, 200 of a pool's primary, 500 reloads of a supervisor: what fails, what is left
 * over, what grows. Ends with exit code 1 if anything does.
 *
 *     npm run soak [-- --upgrades 100] [upgrader] [workers] [supervisor]
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { table } from "../test/kit/table.ts"
import type { Look, Outcome } from "./soak/run.ts"
import { soak } from "./soak/run.ts"
import type { Subject } from "./soak/subjects.ts"
import { subjects } from "./soak/subjects.ts"

const { positionals: names, values } = parseArgs({
  allowPositionals: true,
  options: {
    output: { type: "string", default: "build/soak" },
    upgrades: { type: "string" }
  }
})

const unknown = names.filter((name) => !subjects.some((subject) => subject.name === name))
if (unknown.length > 0) {
  console.error(`There is ${subjects.map(({ name }) => name).join(", ")}, but no ${unknown.join(", ")}`)
  process.exit(2)
}
if (process.platform !== "linux") {
  console.error("The soak looks at processes in /proc, which is Linux")
  process.exit(2)
}

const number = new Intl.NumberFormat("en").format

const cells = ({ descriptors, failed, megabytes, processes, requests, round, zombies }: Look) =>
  [round, processes, zombies, descriptors, `${megabytes.toFixed(1)} MB`, requests, failed].map((cell) =>
    typeof cell === "number" ? number(cell) : cell
  )

const titles = ["round", "processes", "zombies", "descriptors", "resident", "requests", "failed"]

const report = (subject: Subject, { longest, looks, median, problems, rounds }: Outcome) => {
  console.log(`\n${rounds} ${subject.what}: median ${median.toFixed(0)} ms, longest ${longest.toFixed(0)} ms\n`)
  table(titles, looks.map(cells))
  console.log(
    problems.length === 0 ? "\nNothing failed, nothing was left, nothing grew" : `\nFAILED: ${problems.join("; ")}`
  )
}

console.log(`Node ${process.version}`)
const outcomes: Record<string, Outcome> = {}
for (const subject of subjects.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const rounds = values.upgrades === undefined ? subject.rounds : Number(values.upgrades)
  console.log(`\n${subject.name}: ${rounds} rounds`)
  const tell = (look: Look) => console.log(cells(look).map((cell, index) => `${cell} ${titles[index]}`).join(", "))
  const outcome = await Effect.runPromise(soak(subject, rounds, tell))
  report(subject, outcome)
  outcomes[subject.name] = outcome
  if (outcome.problems.length > 0) process.exitCode = 1
}
fs.mkdirSync(values.output, { recursive: true })
const file = path.join(values.output, "soak.json")
fs.writeFileSync(file, `${JSON.stringify({ date: new Date(), node: process.version, outcomes }, undefined, 2)}\n`)
console.log(`\nThe figures are in ${file}`)
