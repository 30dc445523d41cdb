/**
 * All that this package can be asked, one after the other, and a table of the answers. What each one says is kept in
 * `build/everything`. It takes hours, and with `--quick` about one. Ends with exit code 1 if anything does not hold.
 *
 *     npm run everything [-- --quick] [-- --list] [-- proof faults …]
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { root } from "../test/kit/paths.ts"
import { table } from "../test/kit/table.ts"

interface Step {
  readonly name: string
  /** Minutes that it may take. */
  readonly limit: number
  /** What makes it short. */
  readonly quick?: ReadonlyArray<string>
}

const steps: ReadonlyArray<Step> = [
  { name: "check", limit: 10 },
  { name: "build", limit: 15 },
  { name: "test", limit: 60 },
  { name: "check:package", limit: 15 },
  { name: "reference", limit: 10 },
  { name: "test:effect4", limit: 75, quick: ["--project", "unit"] },
  { name: "demo", limit: 15, quick: ["--quick"] },
  { name: "proof", limit: 90, quick: ["--quick"] },
  { name: "faults", limit: 120, quick: ["--quick"] },
  { name: "reloads", limit: 60, quick: ["--reloads", "3"] },
  { name: "systemd", limit: 60, quick: ["--reloads", "3"] },
  { name: "soak", limit: 120, quick: ["--upgrades", "20"] },
  { name: "matrix", limit: 480, quick: ["--project", "unit"] },
  { name: "bench", limit: 90, quick: ["--quick"] }
]

const { positionals: names, values: { list, quick } } = parseArgs({
  allowPositionals: true,
  options: { list: { type: "boolean", default: false }, quick: { type: "boolean", default: false } }
})

const unknown = names.filter((name) => !steps.some((step) => step.name === name))
if (unknown.length > 0) {
  console.error(`There is ${steps.map(({ name }) => name).join(", ")}, but no ${unknown.join(", ")}`)
  process.exit(2)
}
const chosen = steps.filter(({ name }) => names.length === 0 || names.includes(name))
const commandOf = (
  { name, quick: short }: Step
) => ["run", "--silent", name, ...quick && short !== undefined ? ["--", ...short] : []]
if (list) {
  for (const step of chosen) console.log(`npm ${commandOf(step).join(" ")}`)
  process.exit()
}

const folder = path.join(root, "build", "everything")
fs.mkdirSync(folder, { recursive: true })

/** In a process group of its own, so that what is late ends with all that it has started. */
const run = async (step: Step): Promise<ReadonlyArray<string>> => {
  const file = path.join(folder, `${step.name.replace(":", "-")}.log`)
  const log = fs.openSync(file, "w")
  const begin = performance.now()
  console.log(`==> npm ${commandOf(step).join(" ")}`)
  const child = spawn("npm", commandOf(step), { cwd: root, detached: true, stdio: ["ignore", log, log] })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    process.kill(-child.pid!, "SIGKILL")
  }, step.limit * 60_000)
  const [code, signal] = await once(child, "close")
  clearTimeout(timer)
  fs.closeSync(log)
  if (code !== 0) process.exitCode = 1
  const result = code === 0
    ? "ok"
    : isLate
    ? `FAILED: not done in ${step.limit} minutes`
    : `FAILED: ${signal ?? `exit code ${code}`}`
  return [step.name, `${((performance.now() - begin) / 60_000).toFixed(1)} min`, result, path.relative(root, file)]
}

const rows: Array<ReadonlyArray<string>> = []
for (const step of chosen) rows.push(await run(step))
console.log()
table(["what", "time", "result", "what it said"], rows)
