import * as http from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { parentPort, workerData } from "node:worker_threads"
import type { LoadOptions, Sample } from "./load.ts"
import { now } from "./statistics.ts"

const { clients, keepAlive, pause, port } = workerData as LoadOptions
const agent = new http.Agent({ keepAlive, maxSockets: clients })
// No client ever sends a request twice: whatever goes wrong is seen.
const patience = 10_000
let samples: Array<Sample> = []
const stopped = new AbortController()

const ask = () =>
  new Promise<Pick<Sample, "answer" | "failure">>((resolve) => {
    const fail = (error: NodeJS.ErrnoException) => resolve({ answer: undefined, failure: error.code ?? error.message })
    const request = http.get({ host: "127.0.0.1", port, agent, timeout: patience }, (response) => {
      let answer = ""
      response.setEncoding("utf8").on("data", (chunk: string) => answer += chunk).on("error", fail)
      response.on("end", () =>
        resolve(
          response.statusCode === 200
            ? { answer, failure: undefined }
            : { answer, failure: `status ${response.statusCode}` }
        ))
    })
    request.on("error", fail)
    request.on("timeout", () => request.destroy(new Error(`no answer within ${patience / 1000} seconds`)))
  })

const client = async () => {
  while (!stopped.signal.aborted) {
    const at = now()
    const outcome = await ask()
    samples.push({ at, took: now() - at, ...outcome })
    await sleep(pause)
  }
}

const all = Promise.all(Array.from({ length: clients }, (_, index) => sleep(index * pause / clients).then(client)))

const take = () => {
  parentPort!.postMessage(samples)
  samples = []
}

parentPort!.on("message", (what: "take" | "stop") => {
  if (what === "take") return take()
  stopped.abort()
  void all.then(() => {
    take()
    agent.destroy()
    parentPort!.close()
  })
})
