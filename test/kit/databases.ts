/** Databases of their own for tests, by the servers that there are on this machine. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SpawnOptions } from "node:child_process"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "./files.ts"
import { eventually } from "./waiting.ts"

interface Database {
  readonly name: string
  readonly isInstalled: boolean
  /** Ends with the scope. Is what the programs of fixtures/cluster are told of it. */
  readonly start: Effect.Effect<Readonly<Record<string, string>>, never, Scope.Scope>
}

/** A file, which needs no server. */
export const sqlite: Database = { name: "SQLite", isInstalled: true, start: Effect.succeed({}) }

/** The folder of a program, which need not be one of those in which a shell looks. */
const folderOf = (program: string, more: ReadonlyArray<string>): string | undefined =>
  [...(process.env["PATH"] ?? "").split(path.delimiter), ...more].find((folder) =>
    fs.existsSync(path.join(folder, program))
  )

/** These servers refuse to run for root. */
const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

const folderOfServer = Effect.tap(directory, (folder) =>
  Effect.sync(() => {
    if (nobody.uid !== undefined) fs.chownSync(folder, nobody.uid, nobody.gid)
  }))

const optionsIn = (folder: string) => ({ ...nobody, cwd: folder, stdio: "ignore" }) satisfies SpawnOptions

/** Until the end of the scope. It listens on a socket in its folder alone. */
const serve = (
  { args, folder, name, program, signal, socket }: {
    readonly args: ReadonlyArray<string>
    readonly folder: string
    readonly name: string
    readonly program: string
    /** Does not wait for those who are connected. */
    readonly signal: NodeJS.Signals
    readonly socket: string
  }
) =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(program, args, optionsIn(folder))),
    (server) =>
      Effect.promise(async () => {
        const ended = once(server, "exit")
        server.kill(signal)
        await ended
      })
  ).pipe(
    Effect.zipRight(eventually(name, () => fs.existsSync(path.join(folder, socket))))
  )

const debian = "/usr/lib/postgresql"

const programs = folderOf(
  "initdb",
  fs.existsSync(debian) ? fs.readdirSync(debian).map((version) => path.join(debian, version, "bin")) : []
)

export const postgres: Database = {
  name: "PostgreSQL",
  isInstalled: programs !== undefined,
  start: Effect.gen(function*() {
    const folder = yield* folderOfServer
    const data = path.join(folder, "data")
    const initialize = ["-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    yield* Effect.promise(() => once(spawn(path.join(programs!, "initdb"), initialize, optionsIn(folder)), "exit"))
    yield* serve({
      args: ["-D", data, "-k", folder, "-h", "", "-F"],
      folder,
      name: "PostgreSQL",
      program: path.join(programs!, "postgres"),
      signal: "SIGINT",
      socket: ".s.PGSQL.5432"
    })
    return { postgres: folder }
  })
}

const mariadbs = folderOf("mariadbd", ["/usr/sbin"])

export const mariadb: Database = {
  name: "MariaDB",
  isInstalled: mariadbs !== undefined,
  start: Effect.gen(function*() {
    const folder = yield* folderOfServer
    const socket = "mariadb.sock"
    const first = path.join(folder, "first.sql")
    fs.writeFileSync(first, "CREATE DATABASE cluster;\n")
    fs.mkdirSync(path.join(folder, "data"))
    if (nobody.uid !== undefined) fs.chownSync(path.join(folder, "data"), nobody.uid, nobody.gid)
    yield* serve({
      args: [
        "--no-defaults",
        `--datadir=${folder}/data`,
        `--init-file=${first}`,
        "--skip-networking",
        `--socket=${folder}/${socket}`,
        // Without tables of users, an empty folder is enough.
        "--skip-grant-tables",
        "--innodb-flush-method=nosync"
      ],
      folder,
      name: "MariaDB",
      program: path.join(mariadbs!, "mariadbd"),
      signal: "SIGTERM",
      socket
    })
    return { mariadb: path.join(folder, socket) }
  })
}
