import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { freePort } from "../../test/kit/ports.ts"
import type { Subject } from "./subject.ts"
import { processes } from "./subject.ts"

const program = fileURLToPath(new URL("../peers/cluster.js", import.meta.url))

export const cluster: Subject = {
  name: "cluster",
  title: "node:cluster, rolling restart of 2 workers",
  ours: false,
  protocols: ["http", "https", "http2", "ws"],
  missing: () => undefined,
  run: async (protocol, use) => {
    const port = await Effect.runPromise(freePort)
    const server = generations.start({
      args: [program],
      environment: { PROTOCOL: protocol, PORT: String(port) }
    })
    try {
      const ask = () => process.kill(server.pid, "SIGHUP")
      const workers = await processes(server, { port, count: 2, ask })
      return await use({ ...workers, everyPid: () => [server.pid, ...workers.pids()] })
    } finally {
      await server.end()
    }
  }
}
