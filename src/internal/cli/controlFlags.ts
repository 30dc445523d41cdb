/**
 * The flags of the commands that ask at a control socket.
 *
 * @internal
 */
import * as flag from "./flag.ts"

/** Where the socket is if no flag says so. */
export const variable = "TABLEFLIP_CONTROL_SOCKET"

const where = {
  control: flag.value(flag.file, `The control socket [$${variable}]`),
  json: flag.toggle("Print JSON")
}

const waiting = {
  ...where,
  timeout: flag.value(flag.seconds, "How long all of it may take [120]"),
  retry: flag.value(flag.seconds, "Ask again for that long if it is refused [0]")
}

export const status = { ...where, timeout: flag.value(flag.seconds, "How long the answer may take [10]") }

export const events = {
  ...where,
  follow: flag.toggle("Go on with the next process when this one ends", { short: "f" })
}

export const reload = {
  ...waiting,
  wait: flag.value(
    flag.oneOf("WHAT", ["switched", "drained", "ended"]),
    "switched, drained or ended [switched]"
  )
}

export const stop = {
  ...waiting,
  wait: flag.value(
    flag.oneOf("WHAT", ["told", "drained", "ended"]),
    "told, drained or ended [ended]"
  )
}

export const pool = waiting
