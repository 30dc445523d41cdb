/**
 * What importing the upgrader costs on top of what an app imports anyway. A new process for each sample.
 */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { median, now, percentile } from "../lib/statistics.ts"
import { table } from "../lib/table.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const common = `
await import("effect/Effect")
await import("effect/Layer")
await import("@effect/platform-node/NodeRuntime")
const begin = performance.now()`
const upgrader = `${common}
await import("effect-tableflip/Upgrader")
process.stdout.write(String(performance.now() - begin))`

const run = (code: string) => {
  const begin = now()
  const said = execFileSync(process.execPath, ["--input-type=module", "-e", code], { cwd: root, encoding: "utf8" })
  return { wall: now() - begin, said: Number(said) }
}

const cells = (name: string, samples: ReadonlyArray<number>) => [
  name,
  `${median(samples).toFixed(1)} ms`,
  `${percentile(samples, 0).toFixed(1)} ms`,
  `${percentile(samples, 0.75).toFixed(1)} ms`
]

export const imports = (rounds = 41): void => {
  console.log(
    `\nImport of effect-tableflip/Upgrader over effect/Effect, effect/Layer and NodeRuntime, ${rounds} rounds\n`
  )
  const without: Array<number> = []
  const with_: Array<number> = []
  const inside: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    const order = [() => without.push(run(common).wall), () => {
      const { said, wall } = run(upgrader)
      with_.push(wall)
      inside.push(said)
    }]
    for (const measure of round % 2 === 0 ? order : [order[1]!, order[0]!]) measure()
  }
  table(["", "median", "best", "p75"], [
    cells("process without it", without),
    cells("process with it", with_),
    cells("the import itself", inside)
  ])
  console.log(`\nDifference of the medians: ${(median(with_) - median(without)).toFixed(1)} ms`)
}
