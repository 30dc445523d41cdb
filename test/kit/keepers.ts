/**
 * Clients that keep one connection each, never connect again, and say what becomes of it: every answer must be that of the
 * request that is waiting.
 */
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

export interface Answer {
  readonly pid: number
  readonly generation: number
  readonly id: string
  readonly length: number
  readonly remote: string
}

export interface Keeper {
  /** Sends a request and waits for its answer. */
  readonly ask: (options?: AskOptions) => Promise<Answer>
  /** Bytes that are no request, or not a whole one. */
  readonly write: (text: string) => void
  /** Whether a part of an answer has come, and not all of it. */
  readonly isAnswering: () => boolean
  /** What has ended the connection, if something has. */
  readonly ending: () => string | undefined
  /** Whether an answer has said that it is the last one. */
  readonly wasToldToGo: () => boolean
  readonly local: string
  readonly end: () => void
}

export interface AskOptions {
  readonly path?: string
  readonly body?: string
  /** Writes the request in so many pieces, with a pause in between. */
  readonly cuts?: ReadonlyArray<number>
  readonly pause?: number
  /** Waits between two pieces until this is so, rather than for a while. */
  readonly until?: () => boolean
}

let lastId = 0

export const connect = async (target: net.NetConnectOpts): Promise<Keeper> => {
  const socket = net.connect({ ...target, noDelay: true } as net.NetConnectOpts)
  let received = ""
  let ending: string | undefined
  let toldToGo = false
  let waiting: { readonly resolve: (answer: Answer) => void; readonly reject: (cause: Error) => void } | undefined
  let isOurs = false
  const over = (why: string) => {
    if (isOurs) return
    ending ??= why
    waiting?.reject(new Error(`${why} while an answer was awaited, after ${JSON.stringify(received)}`))
    waiting = undefined
  }
  socket.setEncoding("utf8")
  socket.on("error", (error) => over(error.message))
  socket.on("end", () => over("it was ended"))
  socket.on("close", () => over("it was closed"))
  socket.on("data", (text: string) => {
    received += text
    const end = received.indexOf("\r\n\r\n")
    if (end < 0) return
    const head = received.slice(0, end)
    const chunked = /transfer-encoding: chunked/i.test(head)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
    const rest = received.slice(end + 4)
    if (chunked ? !rest.endsWith("0\r\n\r\n") : rest.length < length) return
    if (/^connection: close/im.test(head)) toldToGo = true
    received = ""
    const current = waiting
    waiting = undefined
    if (current === undefined) return over(`an answer that nobody awaited: ${head}`)
    try {
      current.resolve(JSON.parse(/\{.*\}/.exec(rest)![0]) as Answer)
    } catch {
      current.reject(new Error(`no answer: ${head} ${rest}`))
    }
  })
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve)
    socket.once("error", reject)
  })
  return {
    local: `${socket.localAddress}:${socket.localPort}`,
    ask: async ({ body, cuts = [], path = "/", pause = 1, until = () => true } = {}) => {
      if (ending !== undefined) throw new Error(ending)
      const id = String(++lastId)
      const head = `${body === undefined ? "GET" : "POST"} ${path}${path.includes("?") ? "&" : "?"}id=${id} HTTP/1.1`
      const length = body === undefined ? "" : `Content-Length: ${body.length}\r\n`
      const request = `${head}\r\nHost: x\r\n${length}\r\n${body ?? ""}`
      const answered = new Promise<Answer>((resolve, reject) => {
        waiting = { resolve, reject }
      })
      answered.catch(() => {})
      let from = 0
      for (const cut of cuts) {
        socket.write(request.slice(from, cut))
        from = cut
        do await sleep(pause)
        while (!until())
      }
      socket.write(request.slice(from))
      const answer = await answered
      if (answer.id !== id) throw new Error(`the answer to ${answer.id} came to ${id}`)
      if (answer.length !== (body?.length ?? 0)) throw new Error(`of ${body?.length} bytes ${answer.length} came`)
      return answer
    },
    write: (text) => void socket.write(text),
    isAnswering: () => received !== "",
    ending: () => ending,
    wasToldToGo: () => toldToGo,
    end: () => {
      isOurs = true
      socket.destroy()
    }
  }
}

export interface Crowd {
  readonly keepers: ReadonlyArray<Keeper>
  readonly answered: () => number
  readonly failures: ReadonlyArray<string>
  readonly closed: () => number
  readonly toldToGo: () => number
  /** Answers by generation. */
  readonly generations: ReadonlyMap<number, number>
  readonly slowest: () => number
  /** Waits for the requests in flight, and leaves the connections open. */
  readonly rest: () => Promise<void>
  readonly end: () => Promise<void>
}

export interface CrowdOptions {
  readonly target: net.NetConnectOpts
  readonly count: number
  /** The longest pause between two requests, in milliseconds. */
  readonly pause: number
  /** The part of requests that have a body. */
  readonly posts?: number
}

/** So many of them, which ask all the time. */
export const crowd = async ({ count, pause, posts = 0.3, target }: CrowdOptions): Promise<Crowd> => {
  const keepers: Array<Keeper> = []
  for (let made = 0; made < count; made += 50) {
    keepers.push(...await Promise.all(Array.from({ length: Math.min(50, count - made) }, () => connect(target))))
  }
  const failures: Array<string> = []
  const generations = new Map<number, number>()
  let answered = 0
  let slowest = 0
  let going = true
  const body = "x".repeat(3_000)
  const goesOn = () => going
  const run = async (keeper: Keeper) => {
    while (goesOn()) {
      if (pause > 0) await sleep(Math.random() * pause)
      if (!goesOn()) return
      const from = performance.now()
      try {
        const answer = await keeper.ask(Math.random() < posts ? { body } : {})
        answered++
        generations.set(answer.generation, (generations.get(answer.generation) ?? 0) + 1)
        slowest = Math.max(slowest, performance.now() - from)
      } catch (cause) {
        failures.push(String(cause))
        return
      }
    }
  }
  const runs = keepers.map(run)
  const rest = async () => {
    going = false
    await Promise.all(runs)
  }
  return {
    keepers,
    failures,
    generations,
    answered: () => answered,
    slowest: () => slowest,
    closed: () => keepers.filter((keeper) => keeper.ending() !== undefined).length,
    toldToGo: () => keepers.filter((keeper) => keeper.wasToldToGo()).length,
    rest,
    end: async () => {
      await rest()
      for (const keeper of keepers) keeper.end()
    }
  }
}
