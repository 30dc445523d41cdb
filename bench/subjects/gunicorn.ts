/** gunicorn, whose master replaces its workers on SIGHUP. */
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { freePort } from "../../test/kit/ports.ts"
import { writeCertificate } from "./certificateFiles.ts"
import type { Subject } from "./subject.ts"
import { processes } from "./subject.ts"

const folder = fileURLToPath(new URL("../../../bench/peers/gunicorn", import.meta.url))

export const gunicorn: Subject = {
  name: "gunicorn",
  title: "gunicorn HUP, 2 workers of 16 threads",
  ours: false,
  protocols: ["http", "https"],
  missing: () => spawnSync("gunicorn", ["--version"]).status === 0 ? undefined : "apt-get install gunicorn",
  run: async (protocol, use) => {
    const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "bench-gunicorn-"))
    const { certificate, key } = writeCertificate(temporary)
    const port = await Effect.runPromise(freePort)
    const server = generations.start({
      executable: "gunicorn",
      args: ["--config", path.join(folder, "gunicorn.conf.py"), "--chdir", folder, "app:app"],
      environment: {
        PROTOCOL: protocol,
        PORT: String(port),
        CERTIFICATE: certificate,
        KEY: key,
        PYTHONDONTWRITEBYTECODE: "1"
      }
    })
    try {
      const running = await processes(server, { port, count: 2, ask: () => process.kill(server.pid, "SIGHUP") })
      const result = await use(running)
      await server.stop(server.pid)
      return result
    } finally {
      await server.end()
      fs.rmSync(temporary, { recursive: true, force: true })
    }
  }
}
