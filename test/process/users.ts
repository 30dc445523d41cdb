/** Another user than root, for what root may do anyway and for what only root can lose. */
import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { root } from "./harness.ts"

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
export const withoutOrdinaryUser = (): string | undefined =>
  canRun(...asOrdinaryUser, "test", "-r", path.join(root, "dist/index.js"))
    ? undefined
    : "the user nobody cannot read this package"

/** Arguments of `start` for a script that an ordinary user runs. */
export const ordinarily = (script: string): { readonly executable: string; readonly args: ReadonlyArray<string> } => {
  const [executable = process.execPath, ...args] = [...asOrdinaryUser, process.execPath, script]
  return { executable, args }
}
