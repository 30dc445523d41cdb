/**
 * The environment in which this process was started, whatever the app has made of it since: what it has read from files,
 * removed or appended to would otherwise be there before the next process reads its own.
 *
 * @internal
 */
import * as fs from "node:fs"

type Variables = Readonly<Record<string, string | undefined>>

/** Node has taken these for itself before anything could see them: they name descriptors of this process alone. */
const ofNode = new Set(["NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID"])

/** As the kernel keeps it. Of two with the same name, the first one counts, as for getenv(3). */
export const decode = (environ: string): Variables => {
  const variables = new Map<string, string>()
  for (const line of environ.split("\0")) {
    const end = line.indexOf("=")
    const name = line.slice(0, Math.max(0, end))
    if (name !== "" && !ofNode.has(name) && !variables.has(name)) variables.set(name, line.slice(end + 1))
  }
  return Object.fromEntries(variables)
}

/** Where the system does not tell, what is there now. Changes that come later do not count then either. */
export const startVariables = (): Variables => {
  try {
    return decode(fs.readFileSync("/proc/self/environ", "utf8"))
  } catch {
    return { ...process.env }
  }
}
