/**
 * Connections to an echo server of lines. A line that is still without its answer when the connection ends is lost. If
 * the server says goodbye, the client waits for its answer, hangs up and connects again.
 */
import * as net from "node:net"
import { codeOf, count, options, pause, run, stopped, tally } from "./client.ts"

export interface Options {
  readonly port: number
  readonly clients: number
}

const { clients, port } = options<Options>()

const connection = (id: number) =>
  new Promise<void>((resolve) => {
    const socket = net.connect(port, "127.0.0.1")
    let waiting = false
    let goodbye = false
    let rest = ""
    let failure: string | undefined
    const send = async () => {
      await pause(Math.random() * 100)
      if (socket.destroyed || socket.readableEnded) return
      if (goodbye || stopped.aborted) return void socket.end()
      tally.requests++
      waiting = true
      socket.write(`${id}\n`)
    }
    socket.on("connect", send)
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n")
      rest = lines.pop()!
      for (const line of lines) {
        if (line === "bye") goodbye = true
        else {
          waiting = false
          void send()
        }
      }
    })
    socket.on("error", (error) => {
      failure = codeOf(error)
    })
    socket.on("close", () => {
      if (waiting) count(tally.failed, failure ?? "closed without an answer")
      resolve()
    })
  })

run(clients, async (id) => {
  while (!stopped.aborted) await connection(id)
})
