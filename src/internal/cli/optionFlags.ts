/**
 * What the options of a supervisor are called on the command line, so that a message names what was typed.
 *
 * @internal
 */
import type { flags } from "./runFlags.ts"

/** The longest comes first where one is the beginning of another. */
export const flagFor: Readonly<Partial<Record<string, keyof typeof flags>>> = {
  "ready.when.duration": "warmup",
  "ready.when.interval": "ready-interval",
  "ready.when.timeout": "ready-probe-timeout",
  "ready.timeout": "ready-timeout",
  "stop.signal": "stop-signal",
  "stop.timeout": "stop-timeout",
  "restart.policy": "restart",
  "restart.delay": "restart-delay",
  "restart.maxDelay": "max-restart-delay",
  "restart.limit.count": "max-restarts",
  "restart.limit.within": "max-restarts",
  "replace.atOnce": "replace-at-once",
  "replace.stopFirst": "stop-first",
  environmentFiles: "env-file",
  reloadOnChange: "reload-on-change",
  capture: "output",
  leaveRunning: "leave-running",
  pidFile: "pid-file",
  openFiles: "open-files",
  listen: "listen",
  workers: "workers"
}

const dotted = new RegExp(
  Object.keys(flagFor).filter((option) => option.includes(".")).map((option) => option.replaceAll(".", "\\.")).join(
    "|"
  ),
  "g"
)

/** A message that gives advice about options, in the words of the command line. */
export const translate = (message: string): string =>
  message.replaceAll(dotted, (option) => flagFor[option] === undefined ? option : `--${flagFor[option]}`)
