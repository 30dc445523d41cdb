/**
 * Publishes both release lines from what `npm run pack:both` has packed, or says what would be published:
 *
 *     npm run release                # a dry run
 *     npm run release -- --publish   # in a workflow that may prove where a package comes from (`id-token: write`)
 *
 * Each goes under the tag in its package.json. Nothing is published from a tree with changes, without a date in the changelog, or
 * from a clone whose remote `origin` has no address that others can reach.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { root } from "../test/kit/paths.ts"
import { origin } from "./repository.ts"

const { values: { publish } } = parseArgs({ options: { publish: { type: "boolean", default: false } } })

const run = (command: string, ...args: ReadonlyArray<string>): string => {
  const { error, status, stdout } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 30 * 60_000
  })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `exit code ${status}`}`)
  return stdout.trim()
}

const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
const changelog = fs.readFileSync(path.join(root, "CHANGELOG.md"), "utf8")

const missing = [
  ...run("git", "status", "--porcelain") === "" ? [] : ["the tree has changes that are not committed"],
  ...new RegExp(`^## .*\\[${version}\\].* - \\d{4}-\\d\\d-\\d\\d$`, "m").test(changelog)
    ? []
    : [`CHANGELOG.md has no date for ${version}`],
  ...origin(root) === undefined
    ? [
      "the git remote `origin` is not an address such as https://github.com/owner/name: the packages would not say where their source is"
    ]
    : []
]
for (const what of missing) console.log(`${publish ? "Not published" : "Not to be published yet"}: ${what}`)

if (publish && missing.length > 0) {
  process.exitCode = 1
} else {
  run("npm", "run", "--silent", "pack:both")
  const folder = path.join(root, "build/packages")
  for (const name of fs.readdirSync(folder)) {
    const packed = path.join(folder, name)
    const { publishConfig } = JSON.parse(run("tar", "xzOf", packed, "package/package.json"))
    const how = publish ? ["--provenance"] : ["--dry-run"]
    run("npm", "publish", packed, "--access", "public", "--tag", publishConfig.tag, "--ignore-scripts", ...how)
    console.log(`${publish ? "Published" : "Would publish"} ${name} as ${publishConfig.tag}`)
  }
}
