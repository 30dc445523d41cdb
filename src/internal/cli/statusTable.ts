/**
 * The status of a process for people.
 *
 * @internal
 */
import type { ProcessJson, Status } from "../controlSocket/protocol.ts"

const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]] as const

/** How long ago, in the largest unit that fits. */
const ago = (time: string, now: number): string => {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1_000))
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"]
  return `${Math.floor(seconds / size)} ${unit}`
}

const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd())
}

const lastUpgrade = ({ lastUpgrade: last }: Status, now: number): string => {
  if (last === null) return "none"
  const when = `${ago(last.at, now)} ago`
  return last.outcome === "upgraded"
    ? `to generation ${last.generation}, ${when}`
    : `to generation ${last.generation} failed, ${when}: ${last.error.message}`
}

const processes = (all: ReadonlyArray<ProcessJson>, now: number): ReadonlyArray<string> =>
  aligned([
    ["PROCESS", "PID", "GENERATION", "STATE", "FOR", "RESTARTS"],
    ...all.map(({ generation, index, name, pid, restarts, since, state }) => [
      name === "worker" ? `worker ${index}` : name,
      pid === undefined ? "-" : String(pid),
      String(generation),
      state,
      ago(since, now),
      String(restarts)
    ])
  ])

export const table = (status: Status, now: number): string =>
  [
    ...aligned([
      ["state", `${status.state} for ${ago(status.since, now)}`],
      ["process", `${status.pid}, ${status.kind}, started ${ago(status.startedAt, now)} ago, Node ${status.node}`],
      [
        "generation",
        `${status.generation}${status.olderDraining === 0 ? "" : `, ${status.olderDraining} older draining`}`
      ],
      ...status.connections === undefined ? [] : [["connections", String(status.connections)]],
      ...status.size === undefined ? [] : [["size", String(status.size)]],
      ["last upgrade", lastUpgrade(status, now)]
    ]),
    ...status.processes === undefined || status.processes.length === 0 ? [] : ["", ...processes(status.processes, now)]
  ].join("\n")
