/** Clients in a thread of their own, which count what becomes of their requests. */
import { once } from "node:events"
import { Worker } from "node:worker_threads"

/** How often, by kind. */
export type Counts = Record<string, number>

/** Of every kind. */
export const total = (counts: Counts): number => Object.values(counts).reduce((sum, count) => sum + count, 0)

/** Milliseconds. */
export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly longest: number
}

export interface Tally {
  readonly requests: number
  readonly failed: Counts
  /** Refused without having been executed, or lost with a connection that had said so: sent again by the client. */
  readonly again: Counts
  /** What fails in the same way without any upgrade. */
  readonly ordinary: number
  /** How often a connection was ended by the server, where the client counts that. */
  readonly closed?: number
  /** Of the requests that were answered, where the client takes the time. */
  readonly latency?: Latency
}

export interface Crowd {
  /** Lets every client finish its request. */
  readonly stop: () => Promise<Tally>
  /** Ends them, whatever they are doing. */
  readonly end: () => void
}

export const start = (name: string, options: unknown): Crowd => {
  const worker = new Worker(new URL(`./clients/${name}.js`, import.meta.url), { workerData: options })
  const failed = once(worker, "error").then(([error]) => Promise.reject(error))
  failed.catch(() => {})
  return {
    stop: async () => {
      worker.postMessage("stop")
      const [tally] = await Promise.race([once(worker, "message"), failed])
      await worker.terminate()
      return tally
    },
    end: () => void worker.terminate()
  }
}
