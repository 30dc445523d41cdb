/**
 * How long an upgrade takes, from SIGHUP until the old process hands over, compared with a start of the same program
 * from nothing to its first answer; and both of the program as one file.
 */
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { root } from "../../test/kit/paths.ts"
import { answers, freePort } from "../../test/kit/ports.ts"
import { alternating, median, now, percentile } from "../../test/kit/statistics.ts"
import type { Figure } from "../lib/results.ts"

/** Milliseconds of a start from nothing to the first answer, and of an upgrade. */
export const once = async (
  program: string,
  executable = process.execPath
): Promise<{ readonly start: number; readonly upgrade: number }> => {
  const port = await Effect.runPromise(freePort)
  const begin = now()
  const server = generations.start({ executable, args: [program], environment: { PORT: String(port) } })
  try {
    while (!await answers(port)) {
      if (now() - begin > 30_000) throw new Error(`No answer within 30 seconds. It said:\n${server.tail()}`)
      await sleep(2)
    }
    const start = now() - begin
    await server.line(/is ready as generation 1/)
    await sleep(200)
    const asked = now()
    process.kill(server.pid, "SIGHUP")
    const [next] = await server.line(/Process (\d+) has taken over/)
    const upgrade = now() - asked
    await server.stop(Number(next))
    return { start, upgrade }
  } finally {
    await server.end()
  }
}

const programs = {
  "UpgradableHttpServer": "../../examples/http.js",
  "Fds.listen on node:http": "../../examples/plain-node.js"
}

/** As docs/bundling.md has it. */
const bundle = async (program: string): Promise<string> => {
  const outfile = path.join(root, "build/bench/bundled", path.basename(program))
  await build({
    entryPoints: [program],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    banner: {
      js: `import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url)`
    }
  })
  return outfile
}

/** What a bundled one should reach, as a part of the start of the same program unbundled. */
const shorter = { "UpgradableHttpServer": 0.35 }

export const startUp = async (quick: boolean): Promise<Figure> => {
  const rounds = quick ? 3 : 11
  const plain = Object.entries(programs).map(([name, path]) => ({
    name,
    program: fileURLToPath(new URL(path, import.meta.url)),
    times: [] as Array<{ start: number; upgrade: number }>
  }))
  const bundled = await Promise.all(
    plain.map(async ({ name, program }) => ({ name: `${name}, bundled`, program: await bundle(program), times: [] }))
  )
  const samples: typeof plain = [...plain, ...bundled]
  for (let round = 0; round < rounds; round++) {
    for (const { program, times } of alternating(samples, round)) times.push(await once(program))
  }
  const found = samples.map(({ name, times }) => {
    const ratios = times.map(({ start, upgrade }) => upgrade / start)
    const start = median(times.map(({ start }) => start))
    const upgrade = median(times.map(({ upgrade }) => upgrade))
    return {
      name,
      start,
      upgrade,
      ratio: Number((upgrade / start).toFixed(2)),
      p25: percentile(ratios, 0.25),
      p75: percentile(ratios, 0.75),
      times
    }
  })
  const startOf = (name: string) => found.find((each) => each.name === name)!.start
  return {
    name: "start-up",
    title:
      `From SIGHUP until the new process has taken over, compared with a start of the same program from nothing to its first answer. Medians of ${rounds} rounds.`,
    tables: [{
      titles: ["program", "cold start ms", "upgrade ms", "ratio", "ratio p25", "ratio p75"],
      rows: found.map(({ name, p25, p75, ratio, start, upgrade }) => [
        name,
        start.toFixed(0),
        upgrade.toFixed(0),
        ratio.toFixed(2),
        p25.toFixed(2),
        p75.toFixed(2)
      ])
    }],
    bars: [
      ...found.map(({ name, ratio }) => ({
        what: `upgrade over cold start, ${name}`,
        value: ratio,
        limit: 1,
        is: "at most" as const
      })),
      ...Object.entries(shorter).map(([name, limit]) => ({
        what: `cold start bundled over unbundled, ${name}`,
        value: Number((startOf(`${name}, bundled`) / startOf(name)).toFixed(2)),
        limit,
        is: "at most" as const
      }))
    ],
    notes: [],
    data: found
  }
}
