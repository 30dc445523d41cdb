/**
 * `tableflip status`, `reload`, `stop`, `scale`, `replace` and `events`: a running service is asked at its control socket.
 *
 * @internal
 */
import * as flags from "./controlFlags.ts"
import type { Subcommand } from "./subcommand.ts"
import * as subcommand from "./subcommand.ts"

const codes = [
  "Exit codes: 0 done, 1 it has failed and the old process serves, 2 wrong usage,",
  "3 refused (try later), 69 nobody there, 75 the outcome is not known,",
  "76 not this protocol, 77 no permission."
]

// Help and mistakes need none of it.
const commands = () => import("./controlCommands.ts")

export const operate: ReadonlyArray<Subcommand> = [
  subcommand.make({
    name: "status",
    about: "Tell what a service is doing",
    details: ["Tell what a service is doing, by its control socket.", "", ...codes],
    flags: flags.status,
    run: async (parsed) => (await commands()).status(parsed)
  }),
  subcommand.make({
    name: "reload",
    about: "Replace a service by a new process, and wait until it serves",
    details: [
      "Replace a service by a new process, and tell how that went: when the new one has",
      "taken over (switched), when the old one has drained, or when it has ended.",
      "",
      ...codes
    ],
    flags: flags.reload,
    run: async (parsed) => (await commands()).reload(parsed)
  }),
  subcommand.make({
    name: "stop",
    about: "Stop a service, and wait until it has ended",
    details: ["Have a service finish what it serves, and end.", "", ...codes],
    flags: flags.stop,
    run: async (parsed) => (await commands()).stop(parsed)
  }),
  subcommand.make({
    name: "scale",
    about: "Give a pool another number of workers",
    details: ["Give a pool another number of workers.", "", ...codes],
    operands: "SIZE",
    flags: flags.pool,
    run: async (parsed) => (await commands()).scale(parsed)
  }),
  subcommand.make({
    name: "replace",
    about: "Replace the processes of a pool, or one worker",
    details: ["Replace every process of a pool, or the worker with this index.", "", ...codes],
    operands: "[INDEX]",
    flags: flags.pool,
    run: async (parsed) => (await commands()).replace(parsed)
  }),
  subcommand.make({
    name: "events",
    about: "Print what happens to a service",
    details: ["Print what happens to a service, until its process ends.", "", ...codes],
    flags: flags.events,
    run: async (parsed) => (await commands()).events(parsed)
  })
]
