/** The part of the README that is made from the results: the picture, and who loses how many requests. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import type { LoadData, Summary } from "../figures/load.ts"
import type { Results } from "./results.ts"
import { describeMachine, fileOf, markdownTable } from "./results.ts"

const picture = "docs/upgrades.svg"
const begin = "<!-- bench: begin -->\n"
const end = "<!-- bench: end -->\n"

const headings: Record<string, string> = {
  kept: "connections closed, of 100",
  new: "new connections",
  "keep-alive": "keep-alive, busy",
  posts: "keep-alive, a POST now and then",
  https: "HTTPS",
  http2: "HTTP/2",
  websocket: "WebSocket"
}

/** Connections where the clients keep theirs, and requests elsewhere. */
const perUpgrade = (cell: Summary | undefined) =>
  cell === undefined
    ? "–"
    : cell.upgrades === 0
    ? "broken"
    : String(Number(((cell.closed ?? cell.failed) / cell.upgrades).toFixed(1)))

const section = ({ figures }: Results): string => {
  const load = figures.find(({ name }) => name === "load")
  if (load === undefined) throw new Error("There are no results of load yet: npm run bench -- load timeline")
  const { cells, missing } = load.data as LoadData
  const loads = [...new Set(cells.map(({ load }) => load))]
  const table = markdownTable({
    titles: ["closed connections and failed requests per upgrade", ...loads.map((load) => headings[load] ?? load)],
    rows: [...new Set(cells.map(({ subject }) => subject))].map((subject) => [
      subject,
      ...loads.map((load) => perUpgrade(cells.find((cell) => cell.subject === subject && cell.load === load)))
    ])
  })
  return [
    `![Latency through upgrades, failed requests marked](${picture})`,
    "Median (blue) and slowest (grey) answer in each twentieth of a second, upgrades shaded, failed requests in red, connections that were closed in brown.",
    table,
    "–: this server does not speak that protocol, or has no reload for it.",
    `Measured by \`npm run bench\`: ${describeMachine(load.machine)}. Everything it has found, latencies too, is in ` +
    "[bench/results/results.md](bench/results/results.md).",
    ...missing.map(({ subject }) => `Not there to compare with: ${subject}.`)
  ].join("\n\n")
}

/** Gives back what it has changed. */
export const update = (results: Results): ReadonlyArray<string> => {
  if (!results.whole) throw new Error("The README is made from figures with all of their rounds: leave out --quick")
  const readme = path.join(root, "README.md")
  const text = fs.readFileSync(readme, "utf8")
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`${readme} has no place between ${begin.trim()} and ${end.trim()}`)
  const files = [path.join(root, picture), readme]
  const drawn = spawnSync(process.execPath, [path.join(root, "bench/picture.mjs"), fileOf(results), files[0]!], {
    encoding: "utf8"
  })
  if (drawn.status !== 0) throw new Error(`The picture could not be drawn: ${drawn.stderr}`)
  fs.writeFileSync(readme, `${text.slice(0, from + begin.length)}\n${section(results)}\n\n${text.slice(to)}`)
  spawnSync("npx", ["--no-install", "dprint", "fmt", "README.md"], { cwd: root, stdio: "ignore" })
  return files
}
