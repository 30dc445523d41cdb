/**
 * What Node cannot pass on: it takes arguments and variables for UTF-8, and puts U+FFFD where they are not.
 *
 * @internal
 */
import { isUtf8 } from "node:buffer"
import * as fs from "node:fs"

const newEntry = 0

const entriesOf = (file: string): ReadonlyArray<Buffer> => {
  let bytes: Buffer
  try {
    bytes = fs.readFileSync(file)
  } catch {
    return []
  }
  const entries: Array<Buffer> = []
  for (let from = 0, end = 0; (end = bytes.indexOf(newEntry, from)) >= 0; from = end + 1) {
    entries.push(bytes.subarray(from, end))
  }
  return entries.filter((entry) => !isUtf8(entry))
}

/** Arguments of this process, as Node reads them. */
export const args = (): ReadonlyArray<string> => entriesOf("/proc/self/cmdline").map(String)

/** Names of variables that this process was started with. */
export const variables = (): ReadonlyArray<string> =>
  entriesOf("/proc/self/environ").map((entry) => String(entry).split("=", 1).join())
