/**
 * The shell blocks of the documentation, run page by page: all blocks of a page are one script, in a directory in which
 * the package is installed and which has the files of the page.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import type { Block } from "../kit/pages.ts"
import { blocksOf, pages } from "../kit/pages.ts"
import { root } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import { start } from "../kit/processes.ts"

/** What is installed here, and the package itself. */
const install = (directory: string) => {
  const modules = path.join(directory, "node_modules")
  fs.mkdirSync(modules)
  for (const name of fs.readdirSync(path.join(root, "node_modules"))) {
    fs.symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
  }
  fs.symlinkSync(root, path.join(modules, "effect-tableflip"))
  fs.writeFileSync(path.join(directory, "package.json"), JSON.stringify({ type: "module" }))
}

/** Names each block, so that a failure can be found, and `wait_until` for the hidden ones. */
const scriptOf = (blocks: ReadonlyArray<Block>) =>
  [
    "set -euo pipefail",
    `trap 'echo "SHELL ENDED $?"' EXIT`,
    `wait_until() { for _ in $(seq 300); do if eval "$1"; then return; fi; sleep 0.1; done; echo "In vain: $1"; exit 1; }`,
    ...blocks.map(({ code, line, page }) => `echo "BLOCK ${page}, line ${line}"\n${code}`)
  ].join("\n")

/** What has a name is a file, of the shell's too. */
const isRun = ({ file, ignored, language }: Block) =>
  ignored === undefined && file === undefined && (language === "sh" || language === "test")

describe.runIf(isLinux)("the documentation", () => {
  for (const page of pages) {
    const blocks = blocksOf(page)
    const run = blocks.filter(isRun)
    if (run.length === 0) continue
    it.scopedLive(`does in ${page} what it says`, () =>
      Effect.gen(function*() {
        const folder = yield* directory
        const port = String(yield* freePort)
        const withPort = (text: string) => text.replaceAll("8080", port)
        install(folder)
        for (const { code, file } of blocks) {
          if (file === undefined) continue
          fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
          fs.writeFileSync(path.join(folder, file), withPort(code))
        }
        fs.writeFileSync(path.join(folder, "blocks.sh"), withPort(scriptOf(run)))
        const shell = yield* start(undefined, {
          executable: "bash",
          args: ["blocks.sh"],
          cwd: folder,
          env: { PATH: `${path.dirname(process.execPath)}:${process.env["PATH"]}` }
        })
        const [, code] = yield* shell.waitFor(/^SHELL ENDED (\d+)/, "90 seconds")
        assert.strictEqual(code, "0", shell.dump())
        assert.strictEqual(shell.count(/^BLOCK /), run.length)
      }), 120_000)
  }
})
