/**
 * Generates the project for Effect 4, compiles and builds it, and runs the same tests there:
 *
 *     npm run test:effect4 [-- --project unit test/drain]
 *
 * The packages of Effect 4 want Node 22.19 or later. Where this is an older one, npm fetches another.
 */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import { out } from "./project.ts"

const version = "24"
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
const isNew = major > 22 || (major === 22 && minor >= 19)

const nodeOf = (): string => {
  if (isNew) return process.execPath
  const { error, status, stdout } = spawnSync(
    "npx",
    ["-y", "-p", `node@${version}`, "--", "node", "-p", "process.execPath"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 10 * 60_000 }
  )
  if (status !== 0) throw new Error(`npx could not fetch node@${version}: ${error?.message ?? `exit code ${status}`}`)
  return stdout.trim()
}

const run = (node: string, cwd: string, args: ReadonlyArray<string>) => {
  const { error, status } = spawnSync(node, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 40 * 60_000,
    env: { ...process.env, PATH: `${path.dirname(node)}${path.delimiter}${process.env["PATH"] ?? ""}` }
  })
  if (status === 0) return
  console.error(`${args.join(" ")}: ${error?.message ?? `exit code ${status}`}`)
  process.exit(1)
}

run(process.execPath, root, ["--import", "tsx", "scripts/effect4/generate.ts"])
const node = nodeOf()
const compiler = path.join(out, "node_modules/typescript/bin/tsc")
run(node, out, [compiler, "-p", "tsconfig.json"])
run(node, out, [compiler, "-p", "tsconfig.build.json"])
run(node, out, ["node_modules/rollup/dist/bin/rollup", "-c", "--silent"])
run(node, out, ["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)])
