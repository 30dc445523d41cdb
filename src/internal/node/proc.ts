/**
 * Reading what Linux tells in /proc. Elsewhere, and where it may not be read, nothing is known.
 *
 * @internal
 */
import * as fs from "node:fs"

export const read = (file: string): string | undefined => {
  try {
    return fs.readFileSync(file, "latin1")
  } catch {
    return undefined
  }
}

export const readOrEmpty = (file: string): string => read(file) ?? ""

/** Whether it can be read here. */
export const isThere = (): boolean => {
  try {
    return process.platform === "linux" && fs.existsSync("/proc/self/net/tcp")
  } catch {
    // Node's permission model may deny even the question.
    return false
  }
}

/** What is in a directory; nothing if it is gone, or if this process may not look. */
export const readDirectory = (directory: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(directory)
  } catch {
    return []
  }
}

/** Where a link leads; nothing if it is gone, or if this process may not look. */
export const readLink = (file: string): string | undefined => {
  try {
    return fs.readlinkSync(file)
  } catch {
    // Closed meanwhile.
    return undefined
  }
}
