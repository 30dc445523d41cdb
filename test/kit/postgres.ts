/** A PostgreSQL of its own for a test, if there is one on this machine. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "./files.ts"
import { eventually } from "./waiting.ts"

const debian = "/usr/lib/postgresql"

const folders = [
  ...(process.env["PATH"] ?? "").split(path.delimiter),
  ...fs.existsSync(debian) ? fs.readdirSync(debian).map((version) => path.join(debian, version, "bin")) : []
]

const programs = folders.find((folder) => fs.existsSync(path.join(folder, "initdb")))

export const isInstalled = programs !== undefined

/** It refuses to run for root. */
const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

/** Ends with the scope. It listens on a socket in this folder alone. */
export const postgres: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function*() {
  const folder = yield* directory
  const data = path.join(folder, "data")
  if (nobody.uid !== undefined) fs.chownSync(folder, nobody.uid, nobody.gid)
  const own = { ...nobody, cwd: folder, stdio: "ignore" } as const
  execFileSync(path.join(programs!, "initdb"), ["-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], own)
  yield* Effect.acquireRelease(
    Effect.sync(() => spawn(path.join(programs!, "postgres"), ["-D", data, "-k", folder, "-h", "", "-F"], own)),
    (server) =>
      Effect.promise(async () => {
        const ended = once(server, "exit")
        // Does not wait for those who are connected.
        server.kill("SIGINT")
        await ended
      })
  )
  yield* eventually("PostgreSQL", () => fs.existsSync(path.join(folder, ".s.PGSQL.5432")))
  return folder
})
