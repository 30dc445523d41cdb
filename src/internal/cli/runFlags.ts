/**
 * The flags of `tableflip run`.
 *
 * @internal
 */
import * as flag from "./flag.ts"
import { common } from "./subcommand.ts"

const sockets = {
  listen: flag.values(flag.address, "8080, [::1]:80, unix:PATH, web=80; repeats"),
  mode: flag.value(flag.mode, "Permissions of Unix sockets [by the umask]"),
  backlog: flag.value(flag.wholeNumber(1), "Length of the accept queues [511]")
}

const readiness = {
  warmup: flag.value(flag.seconds, "it is still alive after that time [1]", {
    short: "w",
    aliases: ["warmup-time"]
  }),
  "ready-fd": flag.value(flag.wholeNumber(3), "it writes a newline to this descriptor"),
  "ready-http": flag.value(flag.httpUrl, "it answers with a status from 200 to 399"),
  "ready-tcp": flag.value(flag.hostPort, "it accepts a connection there"),
  "ready-wire": flag.toggle("it says so by effect-tableflip's protocol")
}

const waiting = {
  "ready-timeout": flag.value(flag.seconds, "How long that may take [60]"),
  "ready-interval": flag.value(flag.seconds, "Pause between two probes [0.1]"),
  "ready-probe-timeout": flag.value(flag.seconds, "How long one probe may take [1]")
}

const stopping = {
  "stop-signal": flag.value(flag.signal, "What tells it to stop [TERM]"),
  "stop-timeout": flag.value(flag.seconds, "How long it may take until it gets KILL [30]"),
  "leave-running": flag.toggle("Leave it alone when tableflip ends"),
  "kill-at-exit": flag.toggle("Stop it when tableflip ends, as happens anyway", { short: "k" })
}

const restarting = {
  restart: flag.value(
    flag.oneOf("WHEN", ["always", "on-failure", "never"]),
    "always, on-failure or never [on-failure]"
  ),
  "restart-delay": flag.value(flag.seconds, "Pause before it, doubled each time [0.1]"),
  "max-restart-delay": flag.value(flag.seconds, "The longest pause [10]"),
  "max-restarts": flag.value(flag.restarts, "Give up after so many in that time [never]")
}

const command = {
  workers: flag.value(flag.wholeNumber(1), "How many copies run on the same sockets [1]"),
  "replace-at-once": flag.value(flag.countOrAll, "How many copies are replaced at a time [1]"),
  "stop-first": flag.toggle("At a reload, stop the old one first"),
  cwd: flag.value(flag.directory, "Where to start it, looked up at each start"),
  "env-file": flag.values(flag.file, "NAME=value lines, read at each start; repeats"),
  "reload-on-change": flag.values(flag.file, "Reload when that has changed; repeats"),
  "open-files": flag.value(flag.wholeNumber(1), "Its soft limit of open files [as started]"),
  "pid-file": flag.value(flag.file, "Where to write the process id of tableflip"),
  control: flag.value(flag.file, "A socket for tableflip status, reload, stop, …")
}

const output = {
  output: flag.value(
    flag.oneOf("HOW", ["capture", "prefix", "inherit"]),
    "capture, prefix each line, or inherit [capture]"
  ),
  "log-format": flag.value(flag.oneOf("FORMAT", ["human", "json"]), "human or json [human]"),
  verbose: flag.count("Say more; -vv says everything", { short: "v" }),
  quiet: flag.toggle("Say only what went wrong", { short: "q" }),
  ...common
}

export const sections = {
  Sockets: sockets,
  "Ready when": readiness,
  "Until it is ready": waiting,
  "Stopping the command": stopping,
  "Restarting the command": restarting,
  "The command": command,
  Output: output
}

export const flags = { ...sockets, ...readiness, ...waiting, ...stopping, ...restarting, ...command, ...output }
