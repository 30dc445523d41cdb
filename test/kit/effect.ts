/** Which Effect this package is for. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./paths.ts"

const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))

export const isEffect4: boolean = manifest.peerDependencies.effect.startsWith("^4.")
