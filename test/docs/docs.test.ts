import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { blocksOf, pages, textOf } from "../kit/pages.ts"
import { root } from "../kit/paths.ts"
import { run } from "../kit/run.ts"

const where = ({ line, page }: { readonly page: string; readonly line: number }) => `${page}, line ${line}`

describe("the documentation", () => {
  it.live("has code that compiles, every block by itself", () =>
    Effect.gen(function*() {
      const directory = path.join(root, "build", "docs")
      fs.rmSync(directory, { recursive: true, force: true })
      fs.mkdirSync(directory, { recursive: true })
      const blocks = pages.flatMap(blocksOf).filter(({ language }) => language === "ts")
      assert.isAtLeast(blocks.length, 4)
      for (const { code, line, page } of blocks) {
        fs.writeFileSync(path.join(directory, `${page.replaceAll(/[^a-z]/gi, "_")}_line${line}.ts`), code)
      }
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
      yield* run(root, process.execPath, path.join(root, "node_modules/typescript/bin/tsc"), "-p", directory)
    }))

  it("says why a block is not run, and names scripts that there are", () => {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
    for (const block of pages.flatMap(blocksOf).filter(({ ignored }) => ignored !== undefined)) {
      assert.isNotEmpty(block.ignored, where(block))
      for (const [, name] of block.code.matchAll(/\bnpm run ([\w:]+)/g)) {
        assert.property(scripts, name!, where(block))
      }
    }
  })

  it("has no block in a language that is neither compiled nor run nor known to be text", () => {
    const known = ["ts", "sh", "test", "ini", "dockerfile", "mermaid", "yaml", "text"]
    for (const block of pages.flatMap(blocksOf)) assert.include(known, block.language, where(block))
  })

  it("has one unit for a program that upgrades itself and tells nobody", () => {
    const units = pages.flatMap(blocksOf).filter(({ code, language }) =>
      language === "ini" && code.includes("PIDFile=") && !code.includes("OpenFile=")
    )
    const [first, ...others] = units.map(({ code }) => code)
    assert.isDefined(first)
    for (const other of others) assert.strictEqual(other, first)
  })

  it("says what to do about every error", () => {
    const errors = ["TableflipError", "PoolError"].flatMap((module) =>
      Array.from(textOf(`src/${module}.ts`).matchAll(/TaggedError\("(\w+)"\)/g), ([, tag]) => tag!)
    )
    assert.isAtLeast(errors.length, 18)
    for (const tag of errors) assert.include(textOf("docs/failures.md"), `\`${tag}\``)
  })

  it("has links that lead to a file and a heading of it", () => {
    const anchors = (page: string) =>
      Array.from(
        textOf(page).matchAll(/^#+ (.*)$/gm),
        ([, heading]) => heading!.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")
      )
    for (const page of pages) {
      for (const [link, file, anchor] of textOf(page).matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)/g)) {
        const target = path.join(path.dirname(page), file === "" ? path.basename(page) : file!)
        assert.isTrue(fs.existsSync(path.join(root, target)), `${page}: ${link}`)
        if (anchor !== undefined) assert.include(anchors(target), anchor, `${page}: ${link}`)
      }
    }
  })
})
