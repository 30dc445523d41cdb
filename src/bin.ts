#!/usr/bin/env node
/**
 * The command `tableflip`. It does nothing but look after signals until the rest has been loaded: one that came a moment
 * too early would end this process by its default action.
 *
 * @since 3.0.0
 */
import { constants } from "node:os"

let isRunning = false
let endsBy: NodeJS.Signals | undefined

// There is nothing to reload yet.
process.on("SIGHUP", () => {})
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (!isRunning) process.exit(128 + constants.signals[signal])
  })
}

// Signals that invite themselves to be passed on would end this process, or open Node's debugger, until they are.
for (const signal of ["SIGUSR1", "SIGUSR2", "SIGQUIT"] as const) process.on(signal, () => {})

const { main } = await import("./internal/cli/main.ts")
const { flush } = await import("./internal/node/writer.ts")

process.exitCode = await main(process.argv.slice(2), {
  onRunning: () => {
    isRunning = true
  },
  endBy: (signal) => {
    endsBy = signal
  }
})
// The last words, unless nobody takes them.
await flush(1_000)
if (endsBy === undefined) process.exit()
process.removeAllListeners(endsBy)
process.kill(process.pid, endsBy)
// Process 1 does not end by a signal that it has no handler for.
setTimeout(() => process.exit(), 100)
