/** One service under load that goes from a release on Effect 3 to one on Effect 4, and back. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as wrk from "../../test/kit/crowd/wrk.ts"
import { isEffect4 } from "../../test/kit/effect.ts"
import { root } from "../../test/kit/paths.ts"
import { withTarget } from "../../test/kit/servers/target.ts"
import { out } from "../effect4/project.ts"
import { isRegistryReachable, nodeOfEffect4 } from "../nodes.ts"
import type { Scenario } from "./scenarios.ts"

const npm = (cwd: string, script: string) => {
  const { error, status } = spawnSync("npm", ["run", "--silent", script], {
    cwd,
    stdio: ["ignore", "ignore", "inherit"],
    timeout: 10 * 60_000
  })
  if (status !== 0) throw new Error(`npm run ${script} in ${cwd}: ${error?.message ?? `exit code ${status}`}`)
}

const releases = [path.join(root, "build"), path.join(out, "build")] as const

export const effects: Scenario = {
  name: "effects",
  title: "wrk keep-alive, releases on Effect 3 and on Effect 4 in turn",
  needs: "wrk",
  lacks: () =>
    isEffect4
      ? "the project for Effect 3 has both"
      : fs.existsSync(path.join(out, "node_modules/effect")) || isRegistryReachable()
      ? undefined
      : "npm cannot fetch Effect 4",
  run: async (quick) => {
    npm(root, "effect4:build")
    npm(out, "build:scripts")
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effects-"))
    const current = path.join(folder, "current")
    const deploy = (release: string) => {
      fs.symlinkSync(release, `${current}.new`)
      fs.renameSync(`${current}.new`, current)
    }
    try {
      deploy(releases[0])
      return await withTarget({ mode: "platform" }, async (target) => {
        const clients = wrk.start({ connections: 32, url: `http://127.0.0.1:${target.port}/` })
        try {
          await sleep(500)
          const times = quick ? 4 : 20
          for (let count = 1; count <= times; count++) {
            deploy(releases[count % 2]!)
            const from = target.program.position()
            await target.upgrade()
            const expected = count % 2 === 0 ? "3" : "4"
            const [major] = await target.program.line(/^EFFECT (\d+)/, { from })
            if (major !== expected) throw new Error(`Effect ${expected} was deployed, Effect ${major} has come`)
          }
          await sleep(500)
          return {
            upgrades: times,
            tally: await clients.stop(),
            drained: [...target.drained],
            note: `${times / 2} times to Effect 4 and back`
          }
        } finally {
          clients.end()
        }
      }, { executable: nodeOfEffect4(), program: path.join(current, "test/kit/servers/server.js") })
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  }
}
