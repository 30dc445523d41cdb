/** A worker under node:cluster or pm2: on SIGTERM (cluster) or SIGINT (pm2) it stops accepting and finishes. */
import { makeApp, say } from "./ending.ts"

const { close, server } = makeApp()

process.once("SIGTERM", close).once("SIGINT", close)
server.listen(Number(process.env["PORT"]), "127.0.0.1", () => say("UP", process.pid))
