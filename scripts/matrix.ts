/**
 * Runs all tests on every version of Node that is supported, which npm fetches.
 *
 *     npm run test:matrix [-- 22 24]
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { table } from "../test/kit/table.ts"

const versions = process.argv.length > 2 ? process.argv.slice(2) : ["20", "22", "24", "26"]
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "matrix-"))

/** A copy of that Node where every user can run it; npm keeps its own under the home of the one who runs this. */
const fetched = (version: string): string => {
  const { error, status, stdout } = spawnSync(
    "npx",
    ["-y", "-p", `node@${version}`, "--", "node", "-p", "process.execPath"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 10 * 60_000 }
  )
  if (status !== 0) throw new Error(`npx could not fetch node@${version}: ${error?.message ?? `exit code ${status}`}`)
  const directory = path.join(folder, version)
  fs.mkdirSync(directory)
  const file = path.join(directory, "node")
  fs.copyFileSync(stdout.trim(), file)
  return file
}

const run = (node: string, args: ReadonlyArray<string>, stdio: "pipe" | "inherit") =>
  spawnSync(node, args, {
    encoding: "utf8",
    stdio: ["ignore", stdio, "inherit"],
    timeout: 30 * 60_000,
    // What is looked for in the path is to be the same one.
    env: { ...process.env, PATH: `${path.dirname(node)}${path.delimiter}${process.env["PATH"] ?? ""}` }
  })

const runOn = (version: string): ReadonlyArray<string> => {
  const node = fetched(version)
  const exact = run(node, ["--version"], "pipe").stdout.trim()
  console.log(`\n==> ${exact}`)
  const file = path.join(folder, `${version}.json`)
  const begin = performance.now()
  const { status } = run(node, [
    "node_modules/vitest/vitest.mjs",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`
  ], "inherit")
  const time = `${((performance.now() - begin) / 1000).toFixed(0)} s`
  if (status !== 0) process.exitCode = 1
  if (!fs.existsSync(file)) return [exact, "-", "-", "-", time, `did not run, exit code ${status}`]
  const { numFailedTests, numPassedTests, numPendingTests } = JSON.parse(fs.readFileSync(file, "utf8"))
  return [
    exact,
    String(numPassedTests),
    String(numFailedTests),
    String(numPendingTests),
    time,
    status === 0 ? "ok" : `exit code ${status}`
  ]
}

try {
  fs.chmodSync(folder, 0o755)
  const rows = versions.map(runOn)
  console.log()
  table(["Node", "passed", "failed", "skipped", "time", "result"], rows)
} finally {
  fs.rmSync(folder, { recursive: true })
}
