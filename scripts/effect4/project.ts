/**
 * The project for Effect 4 as npm sees it: build/effect4, with a package.json made from the one at hand and
 * scripts/effect4/manifest.json, and the packages of scripts/effect4/package-lock.json.
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

const lock = path.join(here, "package-lock.json")

const npm = (...args: ReadonlyArray<string>): void => {
  const { error, status } = spawnSync("npm", [...args, "--no-audit", "--no-fund", "--engine-strict=false"], {
    cwd: out,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 10 * 60_000
  })
  if (status === 0) return
  fs.rmSync(path.join(out, "package.json"))
  throw new Error(`npm ${args.join(" ")} in ${out} has failed: ${error?.message ?? `exit code ${status}`}`)
}

/** Has what Effect 4 exports there to be read. npm is asked if the project is new or other packages are wanted. */
export const install = (): void => {
  const file = path.join(out, "package.json")
  const installed = path.join(out, "package-lock.json")
  const text = fs.readFileSync(lock, "utf8")
  const asBefore = fs.existsSync(path.join(out, "node_modules/effect")) &&
    JSON.stringify(read(file).devDependencies) === JSON.stringify(JSON.parse(manifest()).devDependencies) &&
    fs.readFileSync(installed, "utf8") === text
  fs.mkdirSync(out, { recursive: true })
  fs.writeFileSync(file, manifest())
  fs.writeFileSync(installed, text)
  if (!asBefore) npm("ci")
}

/** The newest packages that scripts/effect4/manifest.json allows, written down. */
export const update = (): void => {
  fs.rmSync(out, { recursive: true, force: true })
  fs.mkdirSync(out, { recursive: true })
  fs.writeFileSync(path.join(out, "package.json"), manifest())
  npm("install")
  fs.copyFileSync(path.join(out, "package-lock.json"), lock)
}
