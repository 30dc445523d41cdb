/**
 * Limits of this process, getrlimit(2), as Linux tells them.
 *
 * @internal
 */
import * as Option from "effect/Option"
import { readOrEmpty } from "./proc.ts"

interface Limit {
  readonly soft: number
  readonly hard: number
}

const openFilesOf = (pid: number | "self"): Limit | undefined => {
  const [, soft, hard] = /^Max open files +(\d+) +(\d+)/m.exec(readOrEmpty(`/proc/${pid}/limits`)) ?? []
  return soft === undefined || hard === undefined ? undefined : { soft: Number(soft), hard: Number(hard) }
}

/**
 * The soft limit is the one that this process was started with. Node has raised it to the hard one by now; the parent, from
 * which it was inherited, still tells, unless it has set other limits for this process than for itself.
 */
export const openFiles = () => {
  const own = openFilesOf("self")
  const parent = openFilesOf(process.ppid)
  const isInherited = own !== undefined && parent?.hard === own.hard && parent.soft < own.soft
  return { soft: isInherited ? Option.some(parent.soft) : Option.none(), hard: Option.fromNullable(own?.hard) }
}
