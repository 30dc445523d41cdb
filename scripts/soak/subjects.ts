/** What is soaked: programs that replace themselves, or what they run, again and again. */
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"

export interface Subject {
  readonly name: string
  readonly what: string
  /** How many times it is asked to, if not said otherwise. */
  readonly rounds: number
  readonly args: (
    options: { readonly port: number; readonly pidFile: string; readonly dir: string }
  ) => ReadonlyArray<string>
  readonly environment: (
    options: { readonly port: number; readonly pidFile: string }
  ) => Readonly<Record<string, string>>
  /** How many processes it is made of when nothing is going on. */
  readonly processes: number
  /** Whether the process in the PID file is replaced too, or stays and replaces the others. */
  readonly isReplaced: boolean
  /** Which of its generations still come and go at the beginning. */
  readonly warmUp: number
}

const program = (name: string) => path.join(root, "build/scripts/soak", `${name}.js`)

export const subjects: ReadonlyArray<Subject> = [
  {
    name: "upgrader",
    what: "upgrades of an HTTP server",
    rounds: 1_000,
    args: () => [program("server")],
    environment: ({ pidFile, port }) => ({ PORT: String(port), PID_FILE: pidFile }),
    processes: 1,
    isReplaced: true,
    warmUp: 1
  },
  {
    name: "workers",
    what: "upgrades of a primary with 2 workers and one more process",
    rounds: 200,
    args: () => [program("pool")],
    environment: ({ pidFile, port }) => ({ PORT: String(port), PID_FILE: pidFile }),
    processes: 4,
    isReplaced: true,
    warmUp: 1
  },
  {
    name: "supervisor",
    what: "reloads of an HTTP server under `tableflip run`",
    rounds: 500,
    args: ({ pidFile, port }) => [
      path.join(root, "dist/bin.js"),
      "run",
      "--listen",
      `127.0.0.1:${port}`,
      "--ready-wire",
      "--pid-file",
      pidFile,
      "--",
      process.execPath,
      program("server")
    ],
    environment: ({ port }) => ({ PORT: String(port) }),
    processes: 2,
    isReplaced: false,
    // The code that runs at a reload is compiled in the first ones, and the heap finds its size.
    warmUp: 50
  }
]
