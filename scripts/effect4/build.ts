/**
 * Generates the project for Effect 4, compiles all of it, and builds what is published:
 *
 *     npm run effect4:build
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import { out } from "./project.ts"

const run = (cwd: string, args: ReadonlyArray<string>) => {
  const { error, status } = spawnSync(process.execPath, args, {
    cwd,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 15 * 60_000
  })
  if (status === 0) return
  console.error(`${args.join(" ")}: ${error?.message ?? `exit code ${status}`}`)
  process.exit(1)
}

const compiler = path.join(out, "node_modules/typescript/bin/tsc")

run(root, ["--import", "tsx", "scripts/effect4/generate.ts"])
run(out, [compiler, "-p", "tsconfig.json"])
fs.rmSync(path.join(out, "dist"), { recursive: true, force: true })
run(out, [compiler, "-p", "tsconfig.build.json"])
run(out, ["node_modules/rollup/dist/bin/rollup", "-c", "--silent"])
run(out, ["esbuild.config.js"])
