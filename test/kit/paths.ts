/** Where things are in this package, from here and from where the scripts are compiled to. */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** The directory of the package. */
export const root: string = (() => {
  let dir = path.dirname(fileURLToPath(import.meta.url))
  while (!fs.existsSync(path.join(dir, "package.json"))) dir = path.dirname(dir)
  return dir
})()

export const fixture = (name: string): string => path.join(root, "test/fixtures", name)

/** The command `tableflip`, as it was built. */
export const bin = path.join(root, "dist/bin.js")
