import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

const codeBlocks = (file: string): ReadonlyArray<string> =>
  Array.from(fs.readFileSync(path.join(root, file), "utf8").matchAll(/^```ts\n(.*?)^```/gms), ([, code]) => code ?? "")

describe("README", () => {
  it("has code that compiles, every block by itself", () => {
    const directory = path.join(root, "build", "readme")
    fs.rmSync(directory, { recursive: true, force: true })
    fs.mkdirSync(directory, { recursive: true })
    const blocks = codeBlocks("README.md")
    assert.isAtLeast(blocks.length, 4)
    blocks.forEach((code, index) => fs.writeFileSync(path.join(directory, `block${index + 1}.ts`), code))
    fs.writeFileSync(
      path.join(directory, "tsconfig.json"),
      JSON.stringify({
        extends: "../../tsconfig.json",
        compilerOptions: {
          paths: { "effect-tableflip": ["../../src/index.ts"], "effect-tableflip/*": ["../../src/*.ts"] }
        },
        include: ["*.ts"]
      })
    )
    const { status, stdout } = spawnSync(
      process.execPath,
      [path.join(root, "node_modules/typescript/bin/tsc"), "-p", directory],
      { encoding: "utf8" }
    )
    assert.strictEqual(status, 0, stdout)
  })
})
