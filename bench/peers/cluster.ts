/**
 * node:cluster: SIGHUP replaces the workers one after the other. The new one listens before the old one is told to
 * stop. SIGTERM ends all.
 */
import cluster from "node:cluster"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

const size = Number(process.argv[2] ?? 2)

cluster.setupPrimary({ exec: fileURLToPath(new URL("./worker.js", import.meta.url)) })

const start = async () => {
  const worker = cluster.fork()
  await once(worker, "listening")
  return worker
}

let workers = await Promise.all(Array.from({ length: size }, start))

process.on("SIGHUP", async () => {
  const replaced: typeof workers = []
  for (const worker of workers) {
    replaced.push(await start())
    worker.process.kill("SIGTERM")
    await once(worker, "exit")
  }
  workers = replaced
})

process.on("SIGTERM", () => {
  for (const worker of workers) worker.process.kill("SIGKILL")
  process.exit()
})
