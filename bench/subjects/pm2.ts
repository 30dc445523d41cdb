/** pm2 in cluster mode, with a daemon and a home directory of its own. */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { freePort, isListening } from "../../test/kit/ports.ts"
import type { Subject } from "./subject.ts"

const program = fileURLToPath(new URL("../peers/worker.js", import.meta.url))
const command = fileURLToPath(new URL("../../../bench/node_modules/pm2/bin/pm2", import.meta.url))

export const pm2: Subject = {
  name: "pm2",
  title: "pm2 reload, cluster mode, 2 workers",
  ours: false,
  protocols: ["http", "https", "http2", "ws"],
  missing: () => fs.existsSync(command) ? undefined : "npm ci --prefix bench",
  run: async (protocol, use) => {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), "bench-pm2-"))
    const port = await Effect.runPromise(freePort)
    const pm2 = (...args: ReadonlyArray<string>) =>
      promisify(execFile)(process.execPath, [command, ...args], {
        env: { ...process.env, PM2_HOME: home, PROTOCOL: protocol, PORT: String(port), NO_COLOR: "1" },
        timeout: 30_000,
        killSignal: "SIGKILL"
      })
    // Now and then it hangs in a reload, and then in everything else. Its workers end with it.
    const end = async () => {
      const pidFile = path.join(home, "pm2.pid")
      const pid = fs.existsSync(pidFile) ? Number(fs.readFileSync(pidFile, "utf8")) : 0
      await pm2("kill").catch(() => {})
      try {
        if (pid > 0) process.kill(pid, "SIGKILL")
      } catch {
        // It has ended.
      }
      fs.rmSync(home, { recursive: true, force: true })
    }
    try {
      await pm2("start", program, "--name", "bench", "--instances", "2")
      for (let tries = 0; !await isListening(port); tries++) {
        if (tries === 500) throw new Error(`pm2 has started nothing that listens on port ${port}`)
        await sleep(20)
      }
      return await use({ port, upgrade: async () => void await pm2("reload", "bench") })
    } finally {
      await end()
    }
  }
}
