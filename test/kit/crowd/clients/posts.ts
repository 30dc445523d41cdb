/**
 * Clients with one connection each, on which they POST now and then and never try again. Between two requests the
 * connection is idle, which is when a server must not close it.
 */
import * as http from "node:http"
import * as net from "node:net"
import { Pool } from "undici"
import { answered, codeOf, count, options, patience, pause, run, stopped, tally, unanswered } from "./client.ts"

export interface Options {
  readonly port: number
  readonly client: "sockets" | "agent" | "undici"
  readonly clients: number
  /** Milliseconds: each pause is drawn from zero to this. */
  readonly longestPause: number
  /** Milliseconds, of the server. Node adds a second of its own. */
  readonly keepAliveTimeout: number
}

const { client, clients, keepAliveTimeout, longestPause, port } = options<Options>()
const body = "x".repeat(200)

interface Client {
  /** Whether the request went over a connection that had been used before. */
  readonly post: () => Promise<{ readonly reused: boolean; readonly failure: string | undefined }>
  readonly close: () => void
}

const withSockets = (): Client => {
  let idle: net.Socket | undefined
  return {
    post: () =>
      new Promise((resolve) => {
        const reused = idle !== undefined
        const socket = idle ?? net.connect(port, "127.0.0.1")
        idle = undefined
        let text = ""
        const end = (failure: string | undefined) => {
          socket.off("data", onData)
          resolve({ reused, failure })
        }
        const onError = (error: Error) => end(codeOf(error))
        const onEnd = () => end(text === "" ? "closed without an answer" : "cut in an answer")
        const onData = (chunk: Buffer) => {
          text += chunk.toString("latin1")
          const [head, content] = text.split("\r\n\r\n")
          if (content === undefined) return
          const length = Number(/content-length: (\d+)/i.exec(head!)?.[1])
          if (content.length < length) return
          socket.off("error", onError).off("end", onEnd)
          if (/connection: close/i.test(head!)) socket.on("error", () => {}).end()
          else {
            idle = socket
            const forget = () => {
              if (idle === socket) idle = undefined
              socket.destroy()
            }
            socket.once("error", forget).once("end", forget)
          }
          end(/^HTTP\/1.1 200/.test(head!) ? undefined : head!.slice(0, 30))
        }
        socket.removeAllListeners("error").removeAllListeners("end")
        socket.on("error", onError).on("end", onEnd).on("data", onData)
        socket.write(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      }),
    close: () => idle?.destroy()
  }
}

const withAgent = (): Client => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  return {
    post: () =>
      new Promise((resolve) => {
        const request = http.request({ host: "127.0.0.1", port, agent, method: "POST" }, (response) => {
          response.resume()
          response.on("error", fail)
          response.on("end", () =>
            resolve({
              reused: request.reusedSocket,
              failure: response.statusCode === 200 ? undefined : `status ${response.statusCode}`
            }))
        })
        const fail = (error: Error) => resolve({ reused: request.reusedSocket, failure: codeOf(error) })
        request.on("error", fail)
        request.end(body)
      }),
    close: () => agent.destroy()
  }
}

const withUndici = (): Client => {
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 1 })
  return {
    post: async () => {
      try {
        const response = await pool.request({ path: "/", method: "POST", body })
        await response.body.text()
        return { reused: true, failure: response.statusCode === 200 ? undefined : `status ${response.statusCode}` }
      } catch (error) {
        return { reused: true, failure: codeOf(error) }
      }
    },
    close: () => void pool.destroy()
  }
}

const make = { sockets: withSockets, agent: withAgent, undici: withUndici }[client]

/** From this age on the server's own timeout closes the connection: what it loses is lost without any upgrade as well. */
const isTimeout = (idle: number) => idle > keepAliveTimeout - 100

/** A connection may be accepted and then forgotten. */
const inTime = async (post: Client["post"]): ReturnType<Client["post"]> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Awaited<ReturnType<Client["post"]>>>((resolve) => {
    timer = setTimeout(() => resolve({ reused: false, failure: unanswered }), patience)
  })
  const result = await Promise.race([post(), late])
  clearTimeout(timer)
  return result
}

run(clients, async () => {
  let current = make()
  let last = performance.now()
  for (;;) {
    await pause(Math.random() * longestPause)
    if (stopped.aborted) break
    tally.requests++
    const begin = performance.now()
    const idle = begin - last
    const { failure, reused } = await inTime(current.post)
    last = performance.now()
    if (failure === undefined) {
      answered(begin)
      continue
    }
    if (failure === unanswered) {
      current.close()
      current = make()
    }
    if (reused && isTimeout(idle)) tally.ordinary++
    else count(tally.failed, `${failure} after ${(idle / 1_000).toFixed(1)} s`)
  }
  current.close()
})
