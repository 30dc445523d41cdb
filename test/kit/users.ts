/** Another user than root, for what root may do anyway and for what only root can lose. */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { root } from "./paths.ts"

export const isRoot = process.getuid?.() === 0

/** Put before a command, it runs it as an ordinary user: as `nobody` if this is root, and else as it is. */
export const asOrdinaryUser: ReadonlyArray<string> = isRoot
  ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
  : []

export const canRun = (...command: ReadonlyArray<string>): boolean => {
  const [file = "true", ...args] = command
  return spawnSync(file, args).status === 0
}

/** Why there can be no ordinary user here who runs this package. */
export const withoutOrdinaryUser = (): string | undefined => {
  // What changes the user still has the rights of root when it starts the next program; a shell in between has not.
  const can = (script: string, file: string) => canRun(...asOrdinaryUser, "sh", "-c", script, "sh", file)
  if (!can("test -r \"$1\"", path.join(root, "dist/index.js"))) return "the user nobody cannot read this package"
  return can("\"$1\" --version", process.execPath) ? undefined : "the user nobody cannot run this Node"
}

/** Arguments of `start` for a script that an ordinary user runs. */
export const ordinarily = (script: string): { readonly executable: string; readonly args: ReadonlyArray<string> } => {
  const [executable = process.execPath, ...args] = [...asOrdinaryUser, process.execPath, script]
  return { executable, args }
}
