import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import type { Subject } from "./subject.ts"
import { processes } from "./subject.ts"

const program = fileURLToPath(new URL("../peers/close.js", import.meta.url))

export const close: Subject = {
  name: "close",
  title: "hand-over with server.close()",
  ours: false,
  protocols: ["http", "https", "http2", "ws"],
  missing: () => undefined,
  run: async (protocol, use) => {
    const server = generations.start({ args: [program], environment: { PROTOCOL: protocol } })
    try {
      const [port] = await server.line(/^PORT (\d+)/)
      const running = await processes(server, {
        port: Number(port),
        count: 1,
        sayAlone: true,
        ask: () => process.kill(running.pids()[0]!, "SIGHUP")
      })
      return await use(running)
    } finally {
      await server.end()
    }
  }
}
