/** A great many connections that are open and idle, in a thread of their own. */
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import type { Counts, Latency } from "./crowd.ts"

export interface HeldOptions {
  readonly port: number
  readonly protocol: "http" | "ws"
  readonly connections: number
  /** Whether a client connects again as soon as its connection has ended; else it is gone with that. */
  readonly reconnects: boolean
  /** Milliseconds: in so long each connection has a request at some moment, again and again. None if it is left out. */
  readonly period?: number
}

export interface HeldTally {
  /** How often a connection was ended by the server. */
  readonly closed: number
  /** Requests, the first one and the last one of each connection among them. */
  readonly requests: number
  /** Requests and connections that came to nothing. */
  readonly failed: Counts
  /** From the end of a connection until its client had an answer on another one. */
  readonly back?: Latency
  /** Of the requests in between. */
  readonly latency?: Latency
}

export interface Held {
  /** When all are open and have had an answer. */
  readonly ready: () => Promise<void>
  /** Has every connection make one more request, and waits for the answers. */
  readonly stop: () => Promise<HeldTally>
  readonly end: () => void
}

export const start = (options: HeldOptions): Held => {
  const worker = new Worker(new URL("./clients/held.js", import.meta.url), { workerData: options })
  const failed = once(worker, "error").then(([error]) => Promise.reject(error))
  failed.catch(() => {})
  const next = async () => {
    const [message] = await Promise.race([once(worker, "message"), failed])
    return message
  }
  const ready = next()
  ready.catch(() => {})
  return {
    ready: () => ready,
    stop: async () => {
      await ready
      const tally = next()
      worker.postMessage("stop")
      try {
        return await tally
      } finally {
        await worker.terminate()
      }
    },
    end: () => void worker.terminate()
  }
}
