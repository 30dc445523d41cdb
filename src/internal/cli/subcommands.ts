/**
 * All that can follow `tableflip`.
 *
 * @internal
 */
import { completions } from "./completions.ts"
import { operate } from "./operate.ts"
import { run } from "./run.ts"
import type { Subcommand } from "./subcommand.ts"

export const subcommands: ReadonlyArray<Subcommand> = [run, ...operate, completions(() => subcommands)]
