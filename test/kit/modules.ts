/** The modules of this package and what they import. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./paths.ts"

export interface Import {
  /** A path from the root of the package, or what is imported from elsewhere. */
  readonly target: string
  readonly isOwn: boolean
  /** Gone when it is compiled. */
  readonly isType: boolean
}

export interface Module {
  /** From the root of the package. */
  readonly file: string
  readonly text: string
  readonly imports: ReadonlyArray<Import>
}

const statement = /^(?:import|export)( type)?\b(?:[^"'`;]*?\bfrom)? "([^"]+)"/gm

const importsOf = (file: string, text: string): ReadonlyArray<Import> =>
  Array.from(text.matchAll(statement), ([, type, target = ""]) => {
    const isOwn = target.startsWith(".")
    return {
      target: isOwn ? path.posix.join(path.posix.dirname(file), target) : target,
      isOwn,
      isType: type !== undefined
    }
  })

/** What a folder contains, at any depth. */
export const modulesIn = (folder: string): ReadonlyArray<Module> =>
  fs.readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.includes("node_modules"))
    .map((name) => {
      const file = path.posix.join(folder, name)
      const text = fs.readFileSync(path.join(root, file), "utf8")
      return { file, text, imports: importsOf(file, text) }
    })

/** Groups of nodes that can all be reached from each other. */
export const circles = (arrows: ReadonlyMap<string, ReadonlySet<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const reachable = (from: string) => {
    const found = new Set(arrows.get(from))
    for (const node of found) for (const next of arrows.get(node) ?? []) found.add(next)
    return found
  }
  const reach = new Map([...arrows.keys()].map((node) => [node, reachable(node)]))
  const groups = new Map<string, ReadonlyArray<string>>()
  for (const [node, found] of reach) {
    if (!found.has(node)) continue
    const group = [...found].filter((other) => reach.get(other)?.has(node) === true)
    // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
    const members = [...group].sort()
    groups.set(String(members), members)
  }
  return [...groups.values()]
}
