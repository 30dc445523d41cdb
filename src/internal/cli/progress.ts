/**
 * What happens while somebody waits, in words.
 *
 * @internal
 */

type Event = Readonly<Record<string, any>>

export const seconds = (millis: number): string => `${(millis / 1_000).toFixed(millis < 10_000 ? 2 : 1)} s`

const counted = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? "" : "s"}`

const nameOf = ({ index, name, pid }: Event): string =>
  pid === undefined
    ? `${name} ${index}`
    : name === "worker"
    ? `worker ${index} (process ${pid})`
    : `${name} (process ${pid})`

const ended = ({ status }: Event): string =>
  status?._tag === "Killed" ? `was killed by ${status.signal}` : `exited with code ${status?.code}`

const ofAllServers = ({ report }: Event, ending: string): number =>
  (report?.servers ?? []).reduce((sum: number, server: Event) => sum + Number(server[ending] ?? 0), 0)

const words: Readonly<Record<string, (event: Event) => string>> = {
  Status: ({ generation, kind, pid, state }) => `${kind}, process ${pid}, generation ${generation}: ${state}`,
  Ended: ({ by }) => `process ${by?.pid} ends`,
  Missed: ({ count }) => `${counted(count, "event")} missed: this was read too slowly`,
  UpgradeStarted: ({ generation, pid }) => `started process ${pid} as generation ${generation}`,
  UpgradeFailed: ({ error }) => `no upgrade: ${error?.message}`,
  UpgradeRefused: ({ error }) => `no upgrade: ${error?.message}`,
  Upgraded: ({ generation, pid }) => `process ${pid} has taken over as generation ${generation}`,
  ParentExited: () => "every older process has ended",
  Stopped: ({ killed }) =>
    killed === undefined
      ? "told to stop"
      : killed === 0
      ? "everything has stopped"
      : `everything has stopped, ${killed} by SIGKILL`,
  Draining: ({ by, connections }) => `process ${by?.pid} is draining ${counted(connections ?? 0, "connection")}`,
  Drained: (event) => {
    const [handedOver, forced] = [ofAllServers(event, "handedOver"), ofAllServers(event, "forced")]
    return `process ${event["by"]?.pid} has drained in ${seconds(Number(event["report"]?.duration ?? 0))}` +
      (handedOver === 0 ? "" : `, ${counted(handedOver, "connection")} handed over`) +
      (forced === 0 ? "" : `, ${counted(forced, "connection")} closed by force`)
  },
  Started: (event) => `started ${nameOf(event)}, generation ${event["generation"]}`,
  Retired: (event) => `${nameOf(event)} is told to finish`,
  RecycleRequested: (event) =>
    `${nameOf(event)} asks to be replaced${event["reason"] === "Memory" ? ", because of its memory" : ""}`,
  Unresponsive: (event) => `${nameOf(event)} does not respond and gets SIGKILL`,
  Killed: (event) => `${nameOf(event)} has not ended in time and gets SIGKILL`,
  Exited: (event) => `${nameOf(event)} ${ended(event)}${event["expected"] === true ? "" : ", by itself"}`,
  StartFailed: (event) => `${nameOf(event)} has not come up again: ${event["error"]?.message}`,
  Replaced: ({ generation }) => `generation ${generation} has taken the place of every older process`,
  ReplaceFailed: ({ error }) => `no replacement: ${error?.message}`,
  Resized: ({ from, to }) => `resized from ${from} to ${to}`
}

export const describe = (event: Event): string =>
  event["_tag"] === "Ready"
    ? event["pid"] === undefined
      ? `process ${event["by"]?.pid} serves as generation ${event["generation"]}`
      : `${nameOf(event)} is ready`
    : words[event["_tag"]]?.(event) ?? `${event["_tag"]} ${event["message"] ?? ""}`.trim()
