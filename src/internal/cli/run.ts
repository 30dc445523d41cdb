/**
 * `tableflip run`.
 *
 * @internal
 */
import { flags, sections } from "./runFlags.ts"
import * as subcommand from "./subcommand.ts"

export const run = subcommand.make({
  name: "run",
  about: "Run a command under one process id; SIGHUP reloads it",
  details: [
    "SIGHUP starts the command anew, and stops the old one once the new one is ready.",
    "SIGTERM and SIGINT stop it."
  ],
  operands: "-- COMMAND [ARGUMENT...]",
  takesCommand: true,
  sections,
  flags,
  // Help and mistakes need none of it.
  run: async (parsed, runtime) => (await import("./supervise.ts")).supervise(parsed, runtime)
})
