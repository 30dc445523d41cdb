/**
 * Each client has one connection, never another one, and numbers what it says: the server must hear each number once and in
 * order, and so must the client those of what the server says.
 */
import * as net from "node:net"
import { WebSocket } from "ws"
import { answered, codeOf, count, options, patience, pause, run, stopped, tally, unanswered } from "./client.ts"

export interface Options {
  readonly port: number
  readonly clients: number
  /** A WebSocket at this path; by default lines over TCP. */
  readonly path?: string
}

const { clients, path, port } = options<Options>()

interface Line {
  readonly send: (text: string) => void
  readonly end: () => void
}

const connect = (hear: (text: string) => void, over: (why: string) => void): Promise<Line> =>
  new Promise((resolve) => {
    if (path !== undefined) {
      const webSocket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { perMessageDeflate: false })
      webSocket.on("message", (message) => hear(String(message)))
      webSocket.on("error", (error) => over(codeOf(error))).on("close", (code) => over(`close code ${code}`))
      const line = { send: (text: string) => webSocket.send(text), end: () => webSocket.close(1000) }
      return void webSocket.on("open", () => resolve(line))
    }
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true })
    let rest = ""
    socket.on("data", (chunk) => {
      const lines = (rest + String(chunk)).split("\n")
      rest = lines.pop() ?? ""
      lines.forEach(hear)
    })
    socket.on("error", (error) => over(codeOf(error))).on("close", () => over("closed"))
    const line = { send: (text: string) => void socket.write(`${text}\n`), end: () => void socket.destroy() }
    socket.on("connect", () => resolve(line))
  })

run(clients, async () => {
  const waiting: Array<number> = []
  let heard = 0
  let pushed = 0
  let isOver = false
  let settle = () => {}
  const fail = (why: string) => {
    if (isOver) return
    count(tally.failed, why)
    isOver = true
    settle()
  }
  const line = await connect((text) => {
    const expected = text.startsWith("push ") ? `push ${++pushed}` : `heard ${++heard}`
    if (text !== expected) return fail("wrong number")
    if (text.startsWith("push ")) return
    answered(waiting.shift()!)
    if (waiting.length === 0) settle()
  }, fail)
  let last = 0
  const goesOn = () => !stopped.aborted && !isOver
  while (goesOn()) {
    tally.requests++
    waiting.push(performance.now())
    line.send(`${++last} ${"x".repeat(Math.random() * 3_000)}`)
    await pause(Math.random() * 100)
  }
  if (waiting.length > 0 && !isOver) {
    const timer = setTimeout(() => fail(unanswered), patience)
    await new Promise<void>((resolve) => {
      settle = resolve
    })
    clearTimeout(timer)
  }
  isOver = true
  line.end()
})
