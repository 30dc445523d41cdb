#!/usr/bin/env node
/**
 * The command `tableflip`. It does nothing but look after signals until the rest has been loaded: one that came a moment
 * too early would end this process by its default action.
 *
 * @since 0.1.0
 */
import { constants } from "node:os"

let isRunning = false

// There is nothing to reload yet.
process.on("SIGHUP", () => {})
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (!isRunning) process.exit(128 + constants.signals[signal])
  })
}
// Nobody reads what we say any more: that is no reason to end.
process.stderr.on("error", () => {})

const { main } = await import("./internal/cli/main.ts")

process.exitCode = await main(process.argv.slice(2), {
  onRunning: () => {
    isRunning = true
  }
})
process.exit()
