/**
 * The pages of the documentation as tests see them. What follows the language of a block on its first line says what the
 * block is: a file name, with which it is a file of its page; or `ignore: why`, with which it is not run. One for the other
 * Effect begins with its name, as in `effect4: app.ts`, and is not seen.
 *
 * A comment that begins with `<!-- test` is code for the shell as well, in its place between the blocks: what a reader
 * does without being told, such as waiting, and what is to be true at that point.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./paths.ts"

export interface Block {
  readonly page: string
  readonly line: number
  /** `test` for a hidden one. */
  readonly language: string
  readonly file: string | undefined
  /** Why it is not run. */
  readonly ignored: string | undefined
  readonly code: string
}

export const pages: ReadonlyArray<string> = [
  "README.md",
  ...fs.readdirSync(path.join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)
]

export const textOf = (page: string): string => fs.readFileSync(path.join(root, page), "utf8")

const pattern = /^```(\w+)[ \t]*(.*)\n((?:.*\n)*?)^```$|^<!-- test\n((?:.*\n)*?)^-->$/gm

export const blocksOf = (page: string): ReadonlyArray<Block> => {
  const text = textOf(page)
  return Array.from(text.matchAll(pattern)).filter(({ 2: info = "" }) => !/^effect\d: /.test(info)).map(
    ({ 0: all, 1: language = "test", 2: info = "", 3: code, 4: hidden, index }) => {
      const ignored = /^ignore: *(.*)$/.exec(info)?.[1]
      return {
        page,
        line: text.slice(0, index).split("\n").length,
        language,
        file: ignored === undefined && info !== "" ? info : undefined,
        ignored,
        code: code ?? hidden ?? all
      }
    }
  )
}
