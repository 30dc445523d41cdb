/** What importing the upgrader costs on top of what an app imports anyway. A new process for each sample. */
import { execFileSync } from "node:child_process"
import { root } from "../../test/kit/paths.ts"
import { alternating, median, now, percentile } from "../../test/kit/statistics.ts"
import type { Figure } from "../lib/results.ts"

const common = `
await import("effect/Effect")
await import("effect/Layer")
await import("@effect/platform-node/NodeRuntime")`
const upgrader = `${common}
await import("effect-tableflip/Upgrader")`

/** Milliseconds that a process takes for this. */
export const timeOf = (code: string, cwd = root, node = process.execPath): number => {
  const begin = now()
  execFileSync(node, ["--input-type=module", "-e", code], { cwd })
  return now() - begin
}

export const imports = async (quick: boolean): Promise<Figure> => {
  const rounds = quick ? 3 : 41
  const cases = [
    { name: "effect/Effect, effect/Layer, NodeRuntime", code: common, times: [] as Array<number> },
    { name: "and effect-tableflip/Upgrader", code: upgrader, times: [] as Array<number> }
  ]
  for (let round = 0; round < rounds; round++) {
    for (const { code, times } of alternating(cases, round)) times.push(timeOf(code))
  }
  const [without, with_] = cases.map(({ times }) => median(times))
  return {
    name: "imports",
    title:
      `A process that imports the upgrader, over one that imports what an app imports anyway. Medians of ${rounds} alternating rounds.`,
    tables: [{
      titles: ["imports", "median ms", "best ms", "p75 ms"],
      rows: cases.map(({ name, times }) => [
        name,
        ...[median(times), percentile(times, 0), percentile(times, 0.75)].map((time) => time.toFixed(1))
      ])
    }],
    bars: [{
      what: "import of effect-tableflip/Upgrader, ms",
      value: Number((with_! - without!).toFixed(1)),
      limit: 40,
      is: "at most"
    }],
    notes: [],
    data: cases.map(({ name, times }) => ({ name, times }))
  }
}
