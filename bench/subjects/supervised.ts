/** A program of this package under the command of this package, which keeps its process id. */
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { freePort } from "../../test/kit/ports.ts"
import type { Subject } from "./subject.ts"
import { processes } from "./subject.ts"

const command = fileURLToPath(new URL("../../../dist/bin.js", import.meta.url))
const program = fileURLToPath(new URL("../programs/supervised.js", import.meta.url))

export const supervised: Subject = {
  name: "supervised",
  title: "tableflip run, node:http",
  ours: true,
  protocols: ["http", "https", "http2", "ws"],
  missing: () => undefined,
  run: async (protocol, use) => {
    const port = await Effect.runPromise(freePort)
    const server = generations.start({
      args: [
        command,
        "run",
        "--listen",
        `127.0.0.1:${port}`,
        "--ready-wire",
        "--",
        process.execPath,
        program
      ],
      environment: { PROTOCOL: protocol, PORT: String(port) }
    })
    try {
      const ask = () => process.kill(server.pid, "SIGHUP")
      const result = await use(await processes(server, { port, count: 1, ask }))
      await server.stop(server.pid)
      return result
    } finally {
      await server.end()
    }
  }
}
