/** Clients of `sockets.mjs` that keep one WebSocket each. */
import * as Effect from "effect/Effect"
import type { IncomingMessage } from "node:http"
import { WebSocket } from "ws"

export interface Client {
  readonly webSocket: WebSocket
  readonly wrong: Array<string>
  readonly pids: Map<number, number>
  pushed: number
  going: boolean
  sent: number
  port: number
  code: number | undefined
}

export const answeredBy = (client: Client, pid: number) => (client.pids.get(pid) ?? 0) > 5

/** A client that never connects again, and checks every number that comes. */
export const connect = (port: number, path = "/", deflate = false) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      new Promise<Client>((resolve, reject) => {
        const webSocket = new WebSocket(`ws://127.0.0.1:${port}${path}`, {
          perMessageDeflate: deflate,
          headers: { cookie: "name=somebody" }
        })
        const client: Client = {
          webSocket,
          wrong: [],
          pids: new Map(),
          pushed: 0,
          going: true,
          sent: 0,
          port: 0,
          code: undefined
        }
        let answered = 0
        let length = 0
        const say = () => {
          length = Math.random() < 0.1 ? 70_000 : 10
          client.sent++
          webSocket.send("x".repeat(length))
        }
        webSocket.on("message", (data: Buffer) => {
          const text = data.toString()
          if (text.startsWith("push ")) {
            if (text !== `push ${++client.pushed}`) client.wrong.push(`${text}, not ${client.pushed}`)
            return
          }
          const [number, size, pid, cookie] = text.split(" ")
          if (Number(number) !== ++answered || Number(size) !== length || cookie !== "name=somebody") {
            client.wrong.push(`${text}, not ${answered} ${length}`)
          }
          client.pids.set(Number(pid), (client.pids.get(Number(pid)) ?? 0) + 1)
          if (client.going) say()
        })
        webSocket.on("close", (code) => {
          client.code = code
        })
        webSocket.on("error", reject)
        webSocket.on("upgrade", ({ socket }: IncomingMessage) => {
          client.port = socket.localPort ?? 0
        })
        webSocket.on("open", () => {
          resolve(client)
          say()
        })
      })
    ),
    ({ webSocket }) => Effect.sync(() => webSocket.terminate())
  )
