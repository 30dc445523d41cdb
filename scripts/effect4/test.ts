/**
 * Builds the project for Effect 4, looks at its package as npm would publish it, and runs the same tests there:
 *
 *     npm run test:effect4 [-- --project unit test/drain]
 *
 * The packages of Effect 4 want Node 22.19 or later. Where this is an older one, npm fetches another. With
 * `--skip-offline` first, it is left out where the registry of npm cannot be reached.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import { environmentOf, isRegistryReachable, nodeOfEffect4 } from "../nodes.ts"
import { out } from "./project.ts"

const [first, ...rest] = process.argv.slice(2)
const skipsOffline = first === "--skip-offline"
const args = skipsOffline ? rest : process.argv.slice(2)

if (skipsOffline && !isRegistryReachable()) {
  console.log("SKIPPED: all tests on Effect 4, because the registry of npm cannot be reached")
  process.exit(0)
}

const run = (node: string, cwd: string, args: ReadonlyArray<string>) => {
  const { error, status } = spawnSync(node, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 40 * 60_000,
    env: environmentOf(node)
  })
  if (status === 0) return
  console.error(`${args.join(" ")}: ${error?.message ?? `exit code ${status}`}`)
  process.exit(1)
}

const tool = (name: string, file: string) => path.join(root, "node_modules", name, file)

/** The modules that can be imported. */
const entries = () =>
  fs.readdirSync(path.join(out, "src")).filter((name) => name.endsWith(".ts") && name !== "bin.ts").map((name) =>
    name.slice(0, -".ts".length)
  )

run(process.execPath, root, ["--import", "tsx", "scripts/effect4/build.ts"])
if (args.length === 0 || args[0]?.startsWith("--reporter")) {
  run(process.execPath, out, [tool("publint", "src/cli.js"), "--strict"])
  const attw = ["--pack", ".", "--profile", "esm-only", "--include-entrypoints", ...entries()]
  run(process.execPath, out, [tool("@arethetypeswrong/cli", "dist/index.js"), ...attw])
}
run(nodeOfEffect4(), out, ["node_modules/vitest/vitest.mjs", "run", ...args])
