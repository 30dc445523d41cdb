/**
 * The project for Effect 4 as npm sees it: build/effect4, with a package.json made from the one at hand and
 * scripts/effect4/manifest.json.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"

export const here = path.join(root, "scripts/effect4")
export const out = path.join(root, "build/effect4")

const read = (file: string) => JSON.parse(fs.readFileSync(file, "utf8"))

const manifest = (): string => {
  const own = read(path.join(root, "package.json"))
  const scripts = Object.fromEntries(
    Object.entries(own.scripts).filter(([name]) => !/^build$|^check|^format|^pack|^release$|effect4/.test(name))
  )
  // The release lines have the numbers of their Effects, and are the same otherwise.
  const version = own.version.replace(/^3\./, "4.")
  return `${JSON.stringify({ ...own, version, scripts, ...read(path.join(here, "manifest.json")) }, undefined, 2)}\n`
}

/** Has what Effect 4 exports there to be read. npm is asked if the project is new or wants other packages. */
export const install = () => {
  const file = path.join(out, "package.json")
  const text = manifest()
  const before = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : ""
  fs.mkdirSync(out, { recursive: true })
  fs.writeFileSync(file, text)
  const wanted = (json: string) => json === "" ? "" : JSON.stringify(JSON.parse(json).devDependencies)
  if (wanted(before) === wanted(text) && fs.existsSync(path.join(out, "node_modules/effect"))) return
  const { error, status } = spawnSync("npm", ["install", "--no-audit", "--no-fund", "--engine-strict=false"], {
    cwd: out,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 10 * 60_000
  })
  if (status === 0) return
  fs.rmSync(file)
  throw new Error(`npm install in ${out} has failed: ${error?.message ?? `exit code ${status}`}`)
}
