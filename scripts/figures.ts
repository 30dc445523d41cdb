/**
 * Measures what the package promises, on this machine.
 *
 *     npm run figures [-- start-up | imports | listeners | throughput | endurance]
 */
import { cpus } from "node:os"
import { endurance } from "./figures/endurance.ts"
import { imports } from "./figures/imports.ts"
import { listeners } from "./figures/listeners.ts"
import { startUp } from "./figures/startUp.ts"
import { throughput } from "./figures/throughput.ts"

const figures = new Map<string, (rounds?: number) => void | Promise<void>>([
  ["start-up", startUp],
  ["imports", imports],
  ["listeners", listeners],
  ["throughput", throughput],
  ["endurance", endurance]
])

const [name, rounds] = process.argv.slice(2)
const chosen = name === undefined ? [...figures.keys()] : [name]
console.log(`Node ${process.version}, ${cpus().length} processors`)
for (const name of chosen) {
  const figure = figures.get(name)
  if (figure === undefined) throw new Error(`There is ${[...figures.keys()].join(", ")}, but no ${name}`)
  await figure(rounds === undefined ? undefined : Number(rounds))
}
