/** The table of cases and outcomes, for people and for programs. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Result } from "./trial.ts"

const distinct = (items: ReadonlyArray<string>) => [...new Set(items)].join(", ")

const sum = (results: ReadonlyArray<Result>, of: (result: Result) => number) =>
  results.reduce((total, result) => total + of(result), 0)

const outcomesOf = (results: ReadonlyArray<Result>) => [...new Set(results.flatMap(({ outcome }) => outcome ?? []))]

const rowOf = (name: string, results: ReadonlyArray<Result>): ReadonlyArray<string> => {
  const failed = results.filter(({ problems }) => problems.length > 0)
  const outcomes = outcomesOf(results).flatMap((outcome) => {
    const count = results.filter((result) => result.outcome === outcome).length
    return count === 0 ? [] : [results.length === 1 ? outcome : `${outcome} ${count}`]
  })
  return [
    name,
    String(results.length),
    outcomes.join(", "),
    distinct(results.flatMap(({ errors }) => errors)),
    String(sum(results, ({ requests }) => requests)),
    String(sum(results, ({ lost }) => lost)),
    failed.length === 0 ? "ok" : `FAILED: ${distinct(failed.flatMap(({ problems }) => problems))}`
  ]
}

const titles = ["case", "runs", "who serves", "error", "requests", "cut off", "result"]

const line = (cells: ReadonlyArray<string>) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`

export interface Report {
  readonly seed: number
  readonly results: ReadonlyArray<Result>
  readonly skipped: ReadonlyArray<readonly [name: string, reason: string]>
  /** How many runs there was no time for. */
  readonly notRun: number
}

const markdown = ({ notRun, results, seed, skipped }: Report): string => {
  const names = [...new Set(results.map(({ name }) => name))]
  const failed = results.filter(({ problems }) => problems.length > 0)
  return [
    "# Faults",
    "",
    `${
      new Date().toISOString()
    }, Node ${process.version}, ${os.cpus().length} processors, ${os.type()} ${os.release()}. ` +
    `${results.length} runs, ${failed.length} failed, ${notRun} not run for want of time. Seed ${seed}.`,
    "",
    "Requests that are cut off are those of a process that was ended by force, or of a service that was told to stop. " +
    "In every other case one such request is a failure.",
    "",
    line(titles),
    line(titles.map(() => "---")),
    ...names.map((name) => line(rowOf(name, results.filter((result) => result.name === name)))),
    ...skipped.map(([name, reason]) => line([name, "0", "", "", "", "", `skipped: ${reason}`])),
    ""
  ].join("\n")
}

/** Returns the names of the files. */
export const write = (directory: string, report: Report): ReadonlyArray<string> => {
  fs.mkdirSync(directory, { recursive: true })
  const files: ReadonlyArray<readonly [string, string]> = [
    ["faults.md", markdown(report)],
    ["faults.json", `${JSON.stringify({ date: new Date(), node: process.version, ...report }, undefined, 2)}\n`]
  ]
  return files.map(([name, content]) => {
    const file = path.join(directory, name)
    fs.writeFileSync(file, content)
    return file
  })
}
