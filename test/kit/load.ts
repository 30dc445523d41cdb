/**
 * Clients that ask a server again and again, in a thread of their own so that whoever watches does not slow them down.
 */
import { once } from "node:events"
import { Worker } from "node:worker_threads"

export interface LoadOptions {
  readonly port: number
  readonly clients: number
  /** Milliseconds that a client waits between an answer and its next request. */
  readonly pause: number
  readonly keepAlive: boolean
}

export interface Sample {
  /** When the request was sent, and for how many milliseconds it lasted. */
  readonly at: number
  readonly took: number
  /** The body of the answer. */
  readonly answer: string | undefined
  readonly failure: string | undefined
  /** Whether a connection had to be made for it. */
  readonly isConnecting: boolean
}

export interface Load {
  /** The requests that have ended since the last call. */
  readonly take: () => Promise<ReadonlyArray<Sample>>
  /** Lets every client finish its request, and ends. */
  readonly stop: () => Promise<ReadonlyArray<Sample>>
}

export const start = (options: LoadOptions): Load => {
  const worker = new Worker(new URL("./loadWorker.js", import.meta.url), { workerData: options })
  const ask = async (what: "take" | "stop"): Promise<ReadonlyArray<Sample>> => {
    worker.postMessage(what)
    return (await once(worker, "message"))[0]
  }
  return { take: () => ask("take"), stop: () => ask("stop") }
}
