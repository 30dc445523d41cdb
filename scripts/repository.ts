/** Where a package says that its source is: what npm shows, and what a proof of where it was built is held against. */
import { spawnSync } from "node:child_process"

export interface Repository {
  readonly homepage: string
  readonly bugs: { readonly url: string }
  readonly repository: { readonly type: "git"; readonly url: string }
}

/** From the address of a git remote, whichever way it is written; undefined for one that nobody else can reach. */
export const repositoryOf = (remote: string): Repository | undefined => {
  const [, host, name] =
    /^(?:(?:https|ssh|git\+ssh):\/\/(?:[^@/]+@)?|[\w-]+@)([\w-]+(?:\.[\w-]+)+)(?::\d+)?[/:](.+?)(?:\.git)?\/?$/.exec(
      remote
    ) ?? []
  if (host === undefined) return undefined
  const page = `https://${host}/${name}`
  return {
    homepage: `${page}#readme`,
    bugs: { url: `${page}/issues` },
    repository: { type: "git", url: `git+${page}.git` }
  }
}

/** Of the clone in this folder, by its remote `origin`. */
export const origin = (folder: string): Repository | undefined => {
  const { stdout } = spawnSync("git", ["remote", "get-url", "origin"], { cwd: folder, encoding: "utf8" })
  return repositoryOf(stdout.trim())
}
