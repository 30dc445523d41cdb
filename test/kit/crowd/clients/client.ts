/** What all clients share: their options, when to stop, and the tally. */
import { setMaxListeners } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { parentPort, workerData } from "node:worker_threads"
import { percentile } from "../../statistics.ts"
import type { Counts, Tally } from "../crowd.ts"

export const tally = { requests: 0, failed: {} as Counts, again: {} as Counts, ordinary: 0 }

export const count = (counts: Counts, kind: string): void => {
  counts[kind] = (counts[kind] ?? 0) + 1
}

/** Milliseconds after which a request without an answer counts as failed. */
export const patience = 10_000
export const unanswered = `no answer within ${patience / 1_000} s`

const times: Array<number> = []

/** A request has been answered that was sent at `since`, by the clock of `performance`. */
export const answered = (since: number): void => void times.push(performance.now() - since)

const result = (): Tally =>
  times.length === 0
    ? tally
    : {
      ...tally,
      latency: { p50: percentile(times, 0.5), p99: percentile(times, 0.99), longest: percentile(times, 1) }
    }

export const codeOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}

const stopping = new AbortController()
setMaxListeners(0, stopping.signal)
export const stopped: AbortSignal = stopping.signal
export const stop = (): void => stopping.abort()

/** Ends early when the clients are told to stop. */
export const pause = (milliseconds: number): Promise<unknown> =>
  sleep(milliseconds, undefined, { signal: stopped }).catch(() => {})

export const options = <A>(): A => workerData

/** Runs the clients until they are told to stop and have finished. */
export const run = (clients: number, client: (index: number) => Promise<unknown>): void => {
  const all = Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  parentPort!.once("message", () => {
    stopping.abort()
    void all.then(() => parentPort!.postMessage(result()))
  })
}
