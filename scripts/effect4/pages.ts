/**
 * The code on the pages of the documentation. It is for Effect 3, and on the pages of the package for Effect 4 it is for
 * that one. A block that is there for both, as `app.ts` and as `effect4: app.ts`, stays as it is.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { pages as all, textOf } from "../../test/kit/pages.ts"
import { root } from "../../test/kit/paths.ts"

export { all }

/** Where the blocks are as files of their own. */
export const folder = path.join(root, "build/pages")

const pattern = /^```ts[ \t]*(.*)\n((?:.*\n)*?)^```$/gm

const mark = "effect4: "

const fileOf = (page: string, at: number) => path.join(folder, `${page.replaceAll(/[^a-z]/gi, "_")}_${at}.ts`)

/** What is asked of each block: whether it is rewritten, and the words on its first line. */
const blocksOf = (page: string) => {
  const text = textOf(page)
  const matches = [...text.matchAll(pattern)]
  const infos = matches.map(([, info = ""]) => info)
  return matches.map(({ 0: whole, 1: info = "", 2: code = "", index }) => ({
    whole,
    code,
    index,
    ...(info.startsWith(mark)
      ? { info: info.slice(mark.length), isPorted: false }
      : infos.includes(mark + info)
      ? { info: `effect3: ${info}`, isPorted: false }
      : { info, isPorted: true })
  }))
}

/** Writes what is to be rewritten to files, and tells which. */
export const write = (): ReadonlyArray<string> => {
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  return all.flatMap((page) =>
    blocksOf(page).filter(({ isPorted }) => isPorted).map(({ code, index }) => {
      const file = fileOf(page, index)
      fs.writeFileSync(file, code)
      return file
    })
  )
}

/** As one writes it: what a program that was rewritten has to say, one that is written anew has not. */
const forReaders = (code: string): string => {
  const imported = new Map<string, Array<string>>()
  const plain = code
    .replaceAll(/(?:, |\()\{ uninterruptible: "inherit" \}(\))/g, (all, end) => all.startsWith(",") ? end : "")
    .replaceAll(", { disableLogger: true, disableListenLog: true })", ")")
    .replaceAll(/^import \* as (\w+) from "(@?effect\/.*)\/\1"\n/gm, (_, name, barrel) => {
      imported.set(barrel, [...imported.get(barrel) ?? [], name])
      return ""
    })
    .replaceAll(/^import \* as (\w+) from "effect\/\1"\n/gm, (_, name) => {
      imported.set("effect", [...imported.get("effect") ?? [], name])
      return ""
    })
    .replaceAll(/^import \{ (\w+) \} from "(@effect\/.*)"\n/gm, (_, name, module) => {
      imported.set(module, [...imported.get(module) ?? [], name])
      return ""
    })
  const lines = Array.from(
    imported,
    // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
    ([module, names]) => `import { ${[...new Set(names)].sort().join(", ")} } from "${module}"\n`
  )
  return lines.join("") + plain.replace(/^\n+/, "")
}

/** The page with the code that `port` makes of those files. */
export const rewrite = (page: string, port: (file: string) => string): string => {
  const text = textOf(page)
  let at = 0
  let rewritten = ""
  for (const { code, index, info, isPorted, whole } of blocksOf(page)) {
    const written = isPorted ? forReaders(port(fileOf(page, index))) : code
    rewritten += `${text.slice(at, index)}\`\`\`ts${info === "" ? "" : ` ${info}`}\n${written}\`\`\``
    at = index + whole.length
  }
  return rewritten + text.slice(at)
}
