/**
 * The proof of the promise that no request is lost: a server under every kind of load is upgraded again and again, and
 * every request is counted. Ends with exit code 1 if anything was lost that must not be.
 *
 *     npm run proof [-- --quick] [-- --list] [-- keep-alive pipeline …]
 */
import { parseArgs } from "node:util"

import type { Counts } from "../test/kit/crowd/crowd.ts"
import { total } from "../test/kit/crowd/crowd.ts"
import { isInstalled } from "../test/kit/crowd/wrk.ts"
import { median } from "../test/kit/statistics.ts"
import { table } from "../test/kit/table.ts"
import type { Outcome, Scenario } from "./proof/scenarios.ts"
import { scenarios } from "./proof/scenarios.ts"

const { positionals: names, values: { list, quick } } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: "boolean", default: false },
    quick: { type: "boolean", default: false }
  }
})

const number = new Intl.NumberFormat("en").format
const milliseconds = (value: number) => `${value.toFixed(0)} ms`
const kinds = (counts: Counts) => Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(", ")

const verdictOn = (scenario: Scenario, { tally }: Outcome): string => {
  if (tally.requests === 0) return "FAILED: no request was made"
  if (scenario.onlyCounted === true) return "counted"
  return total(tally.failed) === 0 ? "ok" : "FAILED"
}

const detailsOf = ({ note, tally }: Outcome): string =>
  [kinds(tally.failed), note ?? ""].filter((part) => part !== "").join("; ")

const rowOf = (scenario: Scenario, outcome: Outcome): ReadonlyArray<string> => {
  const { drained, tally, upgrades } = outcome
  const times = drained.map(({ took }) => took)
  const sum = (what: "open" | "forced") => number(drained.reduce((sum, report) => sum + report[what], 0))
  return [
    scenario.title,
    String(upgrades),
    number(tally.requests),
    number(total(tally.failed)),
    number(total(tally.again)),
    sum("open"),
    sum("forced"),
    ...times.length === 0 ? ["-", "-"] : [milliseconds(median(times)), milliseconds(Math.max(...times))],
    verdictOn(scenario, outcome)
  ]
}

const without = (scenario: Scenario, verdict: string) => [scenario.title, ...Array(8).fill("-"), verdict]

const details = new Map<Scenario, string>()

const run = async (scenario: Scenario): Promise<ReadonlyArray<string>> => {
  if (scenario.needs === "wrk" && !isInstalled()) return without(scenario, "skipped: wrk is not installed")
  const lack = scenario.lacks?.()
  if (lack !== undefined) return without(scenario, `skipped: ${lack}`)
  const begin = performance.now()
  const row = await scenario.run(quick).then(
    (outcome) => {
      details.set(scenario, detailsOf(outcome))
      return rowOf(scenario, outcome)
    },
    (error: Error) => {
      console.error(error)
      return without(scenario, `FAILED: ${error.message.split("\n")[0]}`)
    }
  )
  const time = `${((performance.now() - begin) / 1_000).toFixed(0)} s`
  console.log(`${scenario.name}: ${row.at(-1)} (${row[1]} upgrades, ${row[2]} requests, ${time})`)
  return row
}

const unknown = names.filter((name) => !scenarios.some((scenario) => scenario.name === name))
if (unknown.length > 0) {
  console.error(`There is no scenario ${unknown.join(", ")}. These are: ${scenarios.map(({ name }) => name).join(" ")}`)
  process.exit(2)
}
const chosen = scenarios.filter(({ name }) => names.length === 0 || names.includes(name))
if (list) {
  table(["scenario", "what"], chosen.map(({ name, title }) => [name, title]))
  process.exit()
}

console.log(`Node ${process.version}\n`)
const rows = new Map<Scenario, ReadonlyArray<string>>()
const runInto = async (scenario: Scenario) => void rows.set(scenario, await run(scenario))
for (const scenario of chosen) if (scenario.calm !== true) await runInto(scenario)
await Promise.all(chosen.filter(({ calm }) => calm === true).map(runInto))

console.log()
table(
  ["scenario", "upgrades", "requests", "failed", "sent again", "drained", "forced", "median", "longest", "result"],
  chosen.map((scenario) => rows.get(scenario)!)
)
console.log()
for (const scenario of chosen) {
  const detail = details.get(scenario)
  if (detail !== undefined && detail !== "") console.log(`${scenario.title}: ${detail}`)
}
process.exitCode = [...rows.values()].some((row) => row.at(-1)!.startsWith("FAILED")) ? 1 : 0
