/** Each client sends one message after the other, and after a reconnection the one that was not answered again. */
import { WebSocket } from "ws"
import { answered, codeOf, count, options, patience, pause, run, stopped, tally, unanswered as late } from "./client.ts"

export interface Options {
  readonly port: number
  readonly clients: number
  /** `/` by default. */
  readonly path?: string
}

const { clients, path = "/", port } = options<Options>()

run(clients, (id) =>
  new Promise<void>((resolve) => {
    let unanswered: string | undefined
    let next = 0
    let begin = 0
    const connect = () => {
      const webSocket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
      // A connection may be accepted and then forgotten.
      let forgotten = false
      const timer = setTimeout(() => {
        forgotten = true
        count(tally.failed, late)
        webSocket.terminate()
      }, patience)
      const send = () => {
        timer.refresh()
        if (unanswered === undefined) {
          unanswered = `${id}.${next++}`
          tally.requests++
          begin = performance.now()
        } else count(tally.again, "unanswered")
        webSocket.send(unanswered)
      }
      webSocket.on("open", () => {
        if (unanswered !== undefined || !stopped.aborted) send()
        else webSocket.close(1000)
      })
      webSocket.on("message", async (data) => {
        if (String(data) !== unanswered) return count(tally.failed, "wrong answer")
        unanswered = undefined
        answered(begin)
        timer.refresh()
        await pause(Math.random() * 100)
        if (stopped.aborted) webSocket.close(1000)
        else if (webSocket.readyState === WebSocket.OPEN) send()
      })
      webSocket.on("error", (error) => {
        if (!forgotten) count(tally.failed, codeOf(error))
      })
      webSocket.on("close", (code) => {
        clearTimeout(timer)
        if (stopped.aborted && unanswered === undefined) return resolve()
        if (code !== 1012 && code !== 1000 && !forgotten) count(tally.failed, `close code ${code}`)
        connect()
      })
    }
    connect()
  }))
