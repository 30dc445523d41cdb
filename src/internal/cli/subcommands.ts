/**
 * All that can follow `tableflip`.
 *
 * @internal
 */
import { completions } from "./completions.ts"
import { run } from "./run.ts"
import type { Subcommand } from "./subcommand.ts"

export const subcommands: ReadonlyArray<Subcommand> = [run, completions(() => subcommands)]
