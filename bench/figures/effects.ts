/** What this package costs on Effect 3 and on Effect 4, on the same Node: importing it, and a start from nothing. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { out } from "../../scripts/effect4/project.ts"
import { isRegistryReachable, nodeOfEffect4 } from "../../scripts/nodes.ts"
import { isEffect4 } from "../../test/kit/effect.ts"
import { root } from "../../test/kit/paths.ts"
import { alternating, median, percentile } from "../../test/kit/statistics.ts"
import type { Figure } from "../lib/results.ts"
import { timeOf } from "./imports.ts"
import { once } from "./startUp.ts"

const build = () => {
  for (const [cwd, script] of [[root, "effect4:build"], [out, "build:scripts"]] as const) {
    const { error, status } = spawnSync("npm", ["run", "--silent", script], {
      cwd,
      stdio: ["ignore", "ignore", "inherit"],
      timeout: 10 * 60_000
    })
    if (status !== 0) throw new Error(`npm run ${script} in ${cwd}: ${error?.message ?? `exit code ${status}`}`)
  }
}

const lines = [{ line: "3.x on Effect 3", folder: root }, { line: "4.x on Effect 4", folder: out }] as const

/** Milliseconds that each takes. */
const costs = async (folder: string, node: string): Promise<Record<string, number>> => {
  const { start, upgrade } = await once(path.join(folder, "build/examples/http.js"), node)
  return {
    "import of effect-tableflip/Upgrader": timeOf(`await import("effect-tableflip/Upgrader")`, folder, node),
    "import of effect-tableflip": timeOf(`await import("effect-tableflip")`, folder, node),
    "cold start of examples/http.ts to its first answer": start,
    "upgrade of examples/http.ts": upgrade
  }
}

const title = "The release lines for Effect 3 and for Effect 4 beside each other, on the same Node"

const missing = (note: string): Figure => ({ name: "effects", title, tables: [], bars: [], notes: [note], data: {} })

export const effects = async (quick: boolean): Promise<Figure> => {
  if (isEffect4) return missing("the project for Effect 3 has both")
  if (!fs.existsSync(path.join(out, "node_modules/effect")) && !isRegistryReachable()) {
    return missing("npm cannot fetch Effect 4")
  }
  build()
  const node = nodeOfEffect4()
  const rounds = quick ? 3 : 21
  const samples = lines.map(({ folder, line }) => ({ folder, line, all: [] as Array<Record<string, number>> }))
  for (let round = 0; round < rounds; round++) {
    for (const { all, folder } of alternating(samples, round)) all.push(await costs(folder, node))
  }
  const found = Object.keys(samples[0]!.all[0]!).map((what) => {
    const both = samples.map(({ all, line }) => ({ line, times: all.map((times) => times[what]!) }))
    const [three, four] = both.map(({ times }) => median(times))
    return { what, both, ratio: Number((four! / three!).toFixed(2)) }
  })
  return {
    name: "effects",
    title: `${title}: whole processes. Medians of ${rounds} alternating rounds.`,
    tables: [{
      titles: ["what", "line", "median ms", "p25 ms", "p75 ms"],
      rows: found.flatMap(({ both, what }) =>
        both.map(({ line, times }) => [
          what,
          line,
          ...[median(times), percentile(times, 0.25), percentile(times, 0.75)].map((time) => time.toFixed(0))
        ])
      )
    }],
    bars: found.map(({ ratio, what }) => ({ what: `4.x over 3.x, ${what}`, value: ratio, limit: 1, is: "at most" })),
    notes: [],
    data: found
  }
}
