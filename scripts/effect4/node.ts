/** A Node on which Effect 4 runs: 22.19 or later. */
import { spawnSync } from "node:child_process"

const version = "24"
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)

/** The path of this one, or of one that npm fetches. */
export const nodeOf = (): string => {
  if (major > 22 || (major === 22 && minor >= 19)) return process.execPath
  const { error, status, stdout } = spawnSync(
    "npx",
    ["-y", "-p", `node@${version}`, "--", "node", "-p", "process.execPath"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 10 * 60_000 }
  )
  if (status !== 0) throw new Error(`npx could not fetch node@${version}: ${error?.message ?? `exit code ${status}`}`)
  return stdout.trim()
}

export const isRegistryReachable = (): boolean => spawnSync("npm", ["ping"], { timeout: 30_000 }).status === 0
