/**
 * Runs all tests, on Effect 3 and on Effect 4, on every version of Node that each supports, which npm fetches.
 *
 *     npm run matrix [-- --project unit] [-- 22 24]
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { root } from "../test/kit/paths.ts"
import { table } from "../test/kit/table.ts"
import { out } from "./effect4/project.ts"
import { environmentOf, nodeOf, runsEffect4 } from "./nodes.ts"

const { positionals, values: { project } } = parseArgs({
  allowPositionals: true,
  options: { project: { type: "string" } }
})
const versions = positionals.length > 0 ? positionals : ["20", "22", "24", "26"]
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "matrix-"))

const run = (node: string, cwd: string, args: ReadonlyArray<string>, stdio: "pipe" | "inherit") =>
  spawnSync(node, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", stdio, "inherit"],
    timeout: 40 * 60_000,
    env: environmentOf(node)
  })

const runOn = (effect: "3" | "4", node: string, exact: string): ReadonlyArray<string> => {
  console.log(`\n==> Effect ${effect}, Node ${exact}`)
  const file = path.join(folder, `${exact}-${effect}.json`)
  const begin = performance.now()
  const { status } = run(node, effect === "3" ? root : out, [
    "node_modules/vitest/vitest.mjs",
    "run",
    ...project === undefined ? [] : ["--project", project],
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`
  ], "inherit")
  const time = `${((performance.now() - begin) / 1000).toFixed(0)} s`
  if (status !== 0) process.exitCode = 1
  if (!fs.existsSync(file)) return [exact, effect, "-", "-", "-", time, `did not run, exit code ${status}`]
  const { numFailedTests, numPassedTests, numPendingTests } = JSON.parse(fs.readFileSync(file, "utf8"))
  return [
    exact,
    effect,
    String(numPassedTests),
    String(numFailedTests),
    String(numPendingTests),
    time,
    status === 0 ? "ok" : `exit code ${status}`
  ]
}

try {
  const built = spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit", timeout: 15 * 60_000 })
  if (built.status !== 0) throw new Error("npm run build has failed")
  const rows = versions.flatMap((version) => {
    const node = nodeOf(version)
    const exact = run(node, root, ["-p", "process.versions.node"], "pipe").stdout.trim()
    return [
      runOn("3", node, exact),
      runsEffect4(exact) ? runOn("4", node, exact) : [exact, "4", "-", "-", "-", "-", "Effect 4 does not run there"]
    ]
  })
  console.log()
  table(["Node", "Effect", "passed", "failed", "skipped", "time", "result"], rows)
} finally {
  fs.rmSync(folder, { recursive: true })
}
