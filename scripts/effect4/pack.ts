/**
 * Builds and packs both release lines, as they are published:
 *
 *     npm run pack:both
 *     npm publish build/packages/effect-tableflip-3.0.0.tgz # npm install effect-tableflip@effect3
 *     npm publish build/packages/effect-tableflip-4.0.0.tgz # npm install effect-tableflip
 *
 * Each has the tag that it is published under in its package.json, and the address of the repository, which is that of the
 * git remote `origin`: a fork that publishes names itself.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import { origin } from "../repository.ts"
import { out } from "./project.ts"

const packages = path.join(root, "build/packages")

const npm = (cwd: string, ...args: ReadonlyArray<string>): string => {
  const { error, status, stdout } = spawnSync("npm", args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 15 * 60_000
  })
  if (status !== 0) throw new Error(`npm ${args.join(" ")}: ${error?.message ?? `exit code ${status}`}`)
  return stdout.trim()
}

npm(root, "run", "--silent", "build")
fs.rmSync(packages, { recursive: true, force: true })
fs.mkdirSync(packages, { recursive: true })
const pack = (folder: string) => npm(folder, "pack", "--silent", "--ignore-scripts", "--pack-destination", packages)

/** Packed again with the address of the repository: package.json in the tree does not know it. */
const addressed = (file: string): void => {
  const folder = path.join(packages, "package")
  const { status } = spawnSync("tar", ["xzf", file], { cwd: packages, stdio: ["ignore", "inherit", "inherit"] })
  if (status !== 0) throw new Error(`${file} cannot be unpacked`)
  const manifest = path.join(folder, "package.json")
  const json = JSON.parse(fs.readFileSync(manifest, "utf8"))
  fs.writeFileSync(manifest, `${JSON.stringify({ ...json, ...origin(root) }, undefined, 2)}\n`)
  pack(folder)
  fs.rmSync(folder, { recursive: true })
}

for (const project of [root, out]) {
  const { peerDependencies, publishConfig } = JSON.parse(fs.readFileSync(path.join(project, "package.json"), "utf8"))
  const file = pack(project)
  addressed(file)
  console.log(`build/packages/${file}: effect ${peerDependencies.effect}, tag ${publishConfig.tag}`)
}
