/** Clients that hold a connection each, of HTTP or of WebSocket, without a library: there may be tens of thousands. */
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { parentPort } from "node:worker_threads"
import { percentile } from "../../statistics.ts"
import type { Latency } from "../crowd.ts"
import type { HeldOptions, HeldTally } from "../held.ts"
import { codeOf, count, options, patience, stop, stopped, unanswered } from "./client.ts"

const { connections, period, port, protocol, reconnects } = options<HeldOptions>()

/** A system has some 28,000 ports for one address of a client. */
const perAddress = 5_000

/** How many connect at the same time: the queue of a server that listens is short. */
const width = 200

const failed = {}
const backAfter: Array<number> = []
const answeredAfter: Array<number> = []
let closed = 0
let requests = 0

const latencyOf = (times: ReadonlyArray<number>): Latency => ({
  p50: percentile(times, 0.5),
  p99: percentile(times, 0.99),
  longest: percentile(times, 1)
})

const httpRequest = Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
const opening = Buffer.from(
  "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
/** A frame of a client, masked with zeros. */
const frame = (opcode: number, payload: Buffer) =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload])
const message = frame(1, Buffer.from("hello"))

/** What an answer of HTTP, or what has come instead of one, leaves; nothing if it is not all there. */
const afterHead = (
  input: string
): { readonly status: number; readonly close: boolean; readonly rest: string } | undefined => {
  const end = input.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const head = input.slice(0, end)
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
  const rest = input.slice(end + 4)
  if (rest.length < length) return undefined
  return { status: Number(head.slice(9, 12)), close: /^connection: close/im.test(head), rest: rest.slice(length) }
}

interface Client {
  socket: net.Socket
  /** What is called with the outcome of the request that is under way. */
  answer: ((failure: string | undefined) => void) | undefined
  input: string
  isOpened: boolean
  /** It has no connection. */
  isAway: boolean
}

const clients: Array<Client> = []
let isOver = false

/** Closes on its own account are not counted. */
const settle = (client: Client, failure: string | undefined) => {
  const { answer } = client
  client.answer = undefined
  answer?.(failure)
}

const onInput = (client: Client): void => {
  if (protocol === "http" || !client.isOpened) {
    const found = afterHead(client.input)
    if (found === undefined) return
    client.input = found.rest
    if (protocol === "http") {
      settle(client, found.status === 200 ? undefined : `status ${found.status}`)
      if (found.close) client.socket.end()
      return
    }
    if (found.status !== 101) return settle(client, `status ${found.status}`)
    client.isOpened = true
    client.socket.write(message)
  }
  for (;;) {
    const [first, length] = [client.input.charCodeAt(0), client.input.charCodeAt(1)]
    if (client.input.length < 2 || client.input.length < 2 + length) return
    const payload = client.input.slice(2, 2 + length)
    client.input = client.input.slice(2 + length)
    if ((first & 0x0f) === 8) client.socket.end(frame(8, Buffer.from(payload.slice(0, 2), "latin1")))
    else settle(client, payload === "hello" ? undefined : "another message")
  }
}

/** Makes a connection and the first request on it. */
const open = (index: number, client: Client): Promise<string | undefined> =>
  new Promise((resolve) => {
    const localAddress = `127.0.0.${2 + Math.floor(index / perAddress)}`
    const socket = net.connect({ host: "127.0.0.1", port, localAddress, noDelay: true })
    Object.assign(client, { socket, input: "", isOpened: false, answer: resolve })
    socket.setEncoding("latin1")
    socket.on("connect", () => {
      requests++
      socket.write(protocol === "http" ? httpRequest : opening)
    })
    let why = "closed"
    socket.on("data", (chunk: string) => {
      client.input += chunk
      onInput(client)
    })
    socket.on("error", (error) => {
      why = codeOf(error)
    })
    socket.on("close", () => {
      if (client.socket !== socket || isOver) return
      if (client.isAway) return settle(client, why)
      closed++
      if (client.answer === undefined && why !== "closed") count(failed, why)
      client.isAway = true
      settle(client, why)
      if (reconnects) void comeBack(index, client)
    })
  })

const comeBack = async (index: number, client: Client): Promise<void> => {
  const begin = performance.now()
  for (;;) {
    if (isOver) return
    const failure = await inTime(client, open(index, client))
    if (failure === undefined) {
      client.isAway = false
      return void backAfter.push(performance.now() - begin)
    }
    count(failed, `${failure} when it came back`)
    client.socket.destroy()
    await sleep(50)
  }
}

const inTime = (client: Client, outcome: Promise<string | undefined>): Promise<string | undefined> => {
  const timer = setTimeout(() => settle(client, unanswered), patience)
  return outcome.finally(() => clearTimeout(timer))
}

/** One more request. What is being answered, or has been lost before, needs none. */
const ask = async (client: Client): Promise<void> => {
  const { answer, isAway, socket } = client
  if (isAway || answer !== undefined || socket.destroyed || socket.readableEnded) return
  const begin = performance.now()
  requests++
  const outcome = new Promise<string | undefined>((resolve) => {
    client.answer = resolve
  })
  socket.write(protocol === "http" ? httpRequest : message)
  const failure = await inTime(client, outcome)
  if (failure === undefined) answeredAfter.push(performance.now() - begin)
  // A WebSocket has been told that this message was not answered, and sends it again.
  else if (protocol === "http" || failure !== "closed") count(failed, failure)
}

const connectAll = async () => {
  let next = 0
  const connect = async () => {
    while (next < connections) {
      const index = next++
      const client = { isAway: true } as Client
      clients.push(client)
      const failure = await inTime(client, open(index, client))
      if (failure !== undefined) throw new Error(`Connection ${index} could not be made: ${failure}`)
      client.isAway = false
    }
  }
  await Promise.all(Array.from({ length: width }, connect))
}

/** Spread evenly over so many milliseconds. */
const askAll = async (within: number) => {
  const pause = within / clients.length
  const asking: Array<Promise<void>> = []
  const begin = performance.now()
  for (const [index, client] of clients.entries()) {
    const due = begin + index * pause
    if (due > performance.now()) await sleep(due - performance.now())
    if (isOver) break
    asking.push(ask(client))
  }
  await Promise.all(asking)
}

const askNowAndThen = async (period: number) => {
  while (!stopped.aborted) await askAll(period)
}

/** Those who are on their way back, too. */
const settled = async () => {
  const isBusy = ({ answer, isAway }: Client) => answer !== undefined || isAway && reconnects
  for (let left = 600; left > 0 && clients.some(isBusy); left--) await sleep(50)
}

await connectAll()
const asking = period === undefined ? undefined : askNowAndThen(period)
parentPort!.once("message", async () => {
  stop()
  await asking
  await settled()
  await askAll(Math.max(200, clients.length / 10))
  await settled()
  isOver = true
  const tally: HeldTally = {
    closed,
    requests,
    failed,
    ...backAfter.length === 0 ? {} : { back: latencyOf(backAfter) },
    ...answeredAfter.length === 0 ? {} : { latency: latencyOf(answeredAfter) }
  }
  parentPort!.postMessage(tally)
})
parentPort!.postMessage("ready")
