/** What a run of the bench has found, and the files in which it is kept. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"

export interface Table {
  readonly titles: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

/** What a figure should reach. */
export interface Bar {
  readonly what: string
  readonly value: number
  readonly limit: number
  readonly is: "at most" | "at least"
}

export const isMet = ({ is, limit, value }: Bar): boolean => is === "at most" ? value <= limit : value >= limit

export interface Figure {
  readonly name: string
  readonly title: string
  readonly tables: ReadonlyArray<Table>
  readonly bars: ReadonlyArray<Bar>
  /** What else is to be known: what is missing, what failed. */
  readonly notes: ReadonlyArray<string>
  /** Every figure from which the tables were made. */
  readonly data: unknown
}

export interface Machine {
  readonly date: string
  readonly node: string
  readonly system: string
  readonly processors: string
  readonly memory: string
  /** Of one minute, before the bench began: other work makes the figures worse. */
  readonly load: number
}

/** A figure, and where and when it was measured: not all need be measured in one go. */
export interface Measured extends Figure {
  readonly machine: Machine
}

export interface Results {
  /** Every figure with all of its rounds. The results of anything less are not kept in the repository. */
  readonly whole: boolean
  readonly figures: ReadonlyArray<Measured>
}

export const machine = (): Machine => ({
  date: new Date().toISOString(),
  node: process.version,
  system: `${os.type()} ${os.release()} ${os.arch()}`,
  processors: `${os.availableParallelism()} x ${os.cpus()[0]?.model.trim() ?? "unknown"}`,
  memory: `${(os.totalmem() / 2 ** 30).toFixed(0)} GB`,
  load: Number(os.loadavg()[0]!.toFixed(2))
})

export const barTable = (figures: ReadonlyArray<Figure>): Table => ({
  titles: ["figure", "value", "should be", ""],
  rows: figures.flatMap(({ bars }) => bars).map((bar) => [
    bar.what,
    String(bar.value),
    `${bar.is} ${bar.limit}`,
    isMet(bar) ? "met" : "missed"
  ])
})

export const markdownTable = ({ rows, titles }: Table): string => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  return [line(titles), line(titles.map((_, index) => index === 0 ? "---" : "---:")), ...rows.map(line)].join("\n")
}

export const describeMachine = ({ date, load, memory, node, processors, system }: Machine): string =>
  `${date.slice(0, 10)}, Node ${node}, ${system}, ${processors}, ${memory}, load ${load} before the start`

const markdown = ({ figures, whole }: Results): string => {
  const bars = barTable(figures)
  return [
    "# Results of the bench",
    ...whole ? [] : ["With few rounds: these figures are not to be quoted."],
    ...bars.rows.length === 0 ? [] : ["## What should be reached", markdownTable(bars)],
    ...figures.flatMap(({ machine, name, notes, tables, title }) => [
      `## ${name}`,
      `${describeMachine(machine)}.`,
      title,
      ...tables.map(markdownTable),
      ...notes.length === 0 ? [] : [notes.map((note) => `- ${note}`).join("\n")]
    ])
  ].join("\n\n") + "\n"
}

const folderOf = (whole: boolean) => path.join(root, whole ? "bench/results" : "build/bench/results")

export const fileOf = ({ whole }: Pick<Results, "whole">): string => path.join(folderOf(whole), "results.json")

/** Keeps what was measured before, but for what has been measured again. */
export const merge = (before: Results, { figures, whole }: Results): Results => {
  const names = [...new Set([...before.figures, ...figures].map(({ name }) => name))]
  const all = [...figures, ...before.figures]
  return { whole, figures: names.map((name) => all.find((figure) => figure.name === name)!) }
}

export const write = (results: Results): ReadonlyArray<string> => {
  const folder = folderOf(results.whole)
  fs.mkdirSync(folder, { recursive: true })
  const files = { json: fileOf(results), markdown: path.join(folder, "results.md") }
  fs.writeFileSync(files.json, `${JSON.stringify(results, undefined, 1)}\n`)
  fs.writeFileSync(files.markdown, markdown(results))
  return Object.values(files)
}

/** What has been measured with all rounds. */
export const read = (): Results => {
  const file = fileOf({ whole: true })
  if (!fs.existsSync(file)) return { whole: true, figures: [] }
  return JSON.parse(fs.readFileSync(file, "utf8"))
}
