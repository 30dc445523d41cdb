/**
 * Measures what the package promises, beside its peers, on this machine, and keeps the results in `bench/results`.
 *
 *     npm run bench [-- --quick] [-- --list] [-- --update-readme] [-- --redraw] [-- load start-up …]
 *
 * With `--quick` it takes few rounds, to see that everything runs; the results of that go to `build/bench/results`. Figures
 * that are named are measured anew, and the results of the others stay. With `--update-readme` the table and the picture of
 * the README are made anew from the results, and with `--redraw` that is done without measuring anything.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { root } from "../test/kit/paths.ts"
import { table } from "../test/kit/table.ts"
import { effects } from "./figures/effects.ts"
import { imports } from "./figures/imports.ts"
import { listeners } from "./figures/listeners.ts"
import type { LoadData } from "./figures/load.ts"
import { failuresIn, load } from "./figures/load.ts"
import { memory } from "./figures/memory.ts"
import { pool } from "./figures/pool.ts"
import { poolMemory } from "./figures/poolMemory.ts"
import { scale } from "./figures/scale.ts"
import { startUp } from "./figures/startUp.ts"
import { throughput } from "./figures/throughput.ts"
import { timeline } from "./figures/timeline.ts"
import * as readme from "./lib/readme.ts"
import type { Figure } from "./lib/results.ts"
import * as results from "./lib/results.ts"

const figures: Record<string, (quick: boolean) => Promise<Figure>> = {
  load,
  timeline,
  "start-up": startUp,
  throughput,
  listeners,
  pool,
  scale,
  memory,
  "pool-memory": poolMemory,
  imports,
  effects
}

const { positionals: names, values: { list, quick, redraw, "update-readme": updateReadme } } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    redraw: { type: "boolean", default: false },
    "update-readme": { type: "boolean", default: false }
  }
})

const unknown = names.filter((name) => !(name in figures))
if (unknown.length > 0) {
  console.error(`There is no figure ${unknown.join(", ")}. These are: ${Object.keys(figures).join(" ")}`)
  process.exit(2)
}

if (list) {
  console.log(Object.keys(figures).join("\n"))
  process.exit()
}

const whole = !quick
if (updateReadme && !redraw && !whole) {
  console.error("The README is made from figures with all of their rounds: leave out --quick, or take --redraw")
  process.exit(2)
}

const folder = path.join(root, "bench")
if (!fs.existsSync(path.join(folder, "node_modules"))) {
  console.log("Installing what the bench compares with and draws with, into bench/node_modules")
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder, stdio: "inherit" })
  if (status !== 0) console.log("That failed: pm2 will be missing, and nothing can be drawn")
}

const measure = async (): Promise<results.Results> => {
  const done: Array<results.Measured> = []
  for (const [name, make] of Object.entries(figures)) {
    if (names.length > 0 && !names.includes(name)) continue
    const machine = results.machine()
    console.log(`==> ${name}\n${results.describeMachine(machine)}`)
    const figure = await make(quick)
    console.log(`\n${figure.title}\n`)
    for (const { rows, titles } of figure.tables) table(titles, rows)
    console.log()
    for (const note of figure.notes) console.log(`  ${note}`)
    console.log()
    done.push({ ...figure, machine })
  }
  const measured = { whole, figures: done }
  return whole ? results.merge(results.read(), measured) : measured
}

const found = redraw ? results.read() : await measure()
const bars = results.barTable(found.figures)
if (bars.rows.length > 0) table(bars.titles, bars.rows)
if (!redraw) console.log(`\nWritten: ${results.write(found).join(", ")}`)

if (updateReadme || redraw) console.log(`Made anew: ${readme.update(found).join(", ")}`)

const failures = found.figures.flatMap(({ data, name }) => name === "load" ? failuresIn(data as LoadData) : [])
for (const failure of failures) console.error(`FAILED: ${failure}`)
process.exitCode = failures.length === 0 ? 0 : 1
