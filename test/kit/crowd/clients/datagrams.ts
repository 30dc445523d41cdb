/**
 * Datagrams in a steady flow, each of which the server sends back. No more are on their way at any time than the buffers
 * of the sockets hold, so that the kernel has no reason to drop one however busy the machine is.
 */
import * as dgram from "node:dgram"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { count, options, pause, run, stopped, tally } from "./client.ts"

export interface Options {
  readonly port: number
  readonly perSecond: number
}

const window = 100
const { perSecond, port } = options<Options>()

run(1, async () => {
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 1 << 20 })
  const waiting = new Set<string>()
  socket.on("message", (message) => {
    if (!waiting.delete(String(message))) count(tally.failed, "duplicate")
  })
  socket.bind(0, "127.0.0.1")
  await once(socket, "listening")
  let last = performance.now()
  let due = 0
  let lost = 0
  let sentAt = last
  while (!stopped.aborted) {
    await pause(2)
    const now = performance.now()
    due = Math.min(window, due + (now - last) * perSecond / 1_000)
    last = now
    for (; due >= 1 && waiting.size - lost < window; due--) {
      const message = String(tally.requests++)
      waiting.add(message)
      sentAt = now
      socket.send(message, port, "127.0.0.1")
    }
    // What is not back by now never will be: it makes room, and is counted at the end unless it does come.
    if (now - sentAt > 2_000) lost = waiting.size
  }
  for (let tries = 0; waiting.size > 0 && tries < 40; tries++) await sleep(50)
  if (waiting.size > 0) tally.failed["lost"] = waiting.size
  socket.close()
})
