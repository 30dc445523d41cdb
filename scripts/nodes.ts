/** Other versions of Node, which npm fetches. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export const isRegistryReachable = (): boolean => spawnSync("npm", ["ping"], { timeout: 30_000 }).status === 0

/** A copy of that Node where every user can run it, until this process ends; npm keeps its own in a home directory. */
export const nodeOf = (version: string): string => {
  const { error, status, stdout } = spawnSync(
    "npx",
    ["-y", "-p", `node@${version}`, "--", "node", "-p", "process.execPath"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 10 * 60_000 }
  )
  if (status !== 0) throw new Error(`npx could not fetch node@${version}: ${error?.message ?? `exit code ${status}`}`)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "node-"))
  process.once("exit", () => fs.rmSync(folder, { recursive: true, force: true }))
  fs.chmodSync(folder, 0o755)
  const file = path.join(folder, "node")
  fs.copyFileSync(stdout.trim(), file)
  return file
}

/** Whether it is 22.19 or later. */
export const runsEffect4 = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 22 || (major === 22 && minor >= 19)
}

/** A Node on which Effect 4 runs: this one, or one that npm fetches. */
export const nodeOfEffect4 = (): string => runsEffect4(process.versions.node) ? process.execPath : nodeOf("24")

/** What `node` runs with: what is looked for in the path is to be the same one. */
export const environmentOf = (node: string): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${path.dirname(node)}${path.delimiter}${process.env["PATH"] ?? ""}`
})
