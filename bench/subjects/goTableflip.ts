/** cloudflare/tableflip in Go, with the http.Shutdown of its own example. Built from the Debian packages. */
import * as Effect from "effect/Effect"
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { freePort } from "../../test/kit/ports.ts"
import { writeCertificate } from "./certificateFiles.ts"
import type { Subject } from "./subject.ts"
import { processes } from "./subject.ts"

const source = fileURLToPath(new URL("../../../bench/peers/go/main.go", import.meta.url))
const packages = "/usr/share/gocode"

/** Built once in the life of the bench. */
const build = (() => {
  let program: string | undefined
  return () => {
    if (program !== undefined) return program
    const folder = fileURLToPath(new URL("../peers", import.meta.url))
    program = path.join(folder, "goTableflip")
    execFileSync("go", ["build", "-o", program, source], {
      env: { ...process.env, GO111MODULE: "off", GOPATH: packages, GOFLAGS: "", GOCACHE: path.join(folder, "goCache") },
      stdio: "inherit"
    })
    return program
  }
})()

export const goTableflip: Subject = {
  name: "go",
  title: "cloudflare/tableflip (Go) with http.Shutdown",
  ours: false,
  protocols: ["http", "https", "http2"],
  missing: () =>
    spawnSync("go", ["version"]).status === 0 && fs.existsSync(`${packages}/src/github.com/cloudflare/tableflip`)
      ? undefined
      : "apt-get install golang-go golang-github-cloudflare-tableflip-dev",
  run: async (protocol, use) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "bench-go-"))
    const { certificate, key } = writeCertificate(folder)
    const port = await Effect.runPromise(freePort)
    const server = generations.start({
      executable: build(),
      args: [],
      environment: { PROTOCOL: protocol, PORT: String(port), CERTIFICATE: certificate, KEY: key }
    })
    try {
      const running = await processes(server, {
        port,
        count: 1,
        sayAlone: true,
        ask: () => process.kill(running.pids()[0]!, "SIGHUP")
      })
      return await use(running)
    } finally {
      await server.end()
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}
