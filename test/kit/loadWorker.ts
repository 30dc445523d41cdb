import * as http from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { parentPort, workerData } from "node:worker_threads"
import type { LoadOptions, Sample } from "./load.ts"
import { now } from "./statistics.ts"

const { clients, keepAlive, pause, port } = workerData as LoadOptions
/** Each client has one connection at a time. */
const agents = Array.from({ length: clients }, () => new http.Agent({ keepAlive, maxSockets: 1 }))
// No client ever sends a request twice: whatever goes wrong is seen.
const patience = 10_000
let samples: Array<Sample> = []
const stopped = new AbortController()

const ask = (agent: http.Agent) =>
  new Promise<Omit<Sample, "at" | "took">>((resolve) => {
    const end = (answer: string | undefined, failure: string | undefined) =>
      resolve({ answer, failure, isConnecting: !request.reusedSocket })
    const fail = (error: NodeJS.ErrnoException) => end(undefined, error.code ?? error.message)
    const request = http.get({ host: "127.0.0.1", port, agent, timeout: patience }, (response) => {
      let answer = ""
      response.setEncoding("utf8").on("data", (chunk: string) => answer += chunk).on("error", fail)
      response.on("end", () => end(answer, response.statusCode === 200 ? undefined : `status ${response.statusCode}`))
    })
    request.on("error", fail)
    request.on("timeout", () => request.destroy(new Error(`no answer within ${patience / 1000} seconds`)))
  })

const client = async (agent: http.Agent) => {
  while (!stopped.signal.aborted) {
    const at = now()
    const outcome = await ask(agent)
    samples.push({ at, took: now() - at, ...outcome })
    await sleep(pause)
  }
}

const all = Promise.all(agents.map((agent, index) => sleep(index * pause / clients).then(() => client(agent))))

const take = () => {
  parentPort!.postMessage(samples)
  samples = []
}

parentPort!.on("message", (what: "take" | "stop") => {
  if (what === "take") return take()
  stopped.abort()
  void all.then(() => {
    take()
    agents.forEach((agent) => agent.destroy())
    parentPort!.close()
  })
})
