/** Clients of `talking.mjs` that keep one connection each, never connect again, and check every number that comes. */
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

export interface Reply {
  readonly pid: number
  readonly generation: number
}

export interface Talker {
  /** Sends a line and waits for its answer. */
  readonly say: (text?: string) => Promise<Reply>
  /** Bytes that are not a whole line; `finish` sends the rest of it. */
  readonly half: () => { readonly finish: () => Promise<Reply> }
  /** How often the server has greeted: once, if it has kept the connection. */
  readonly greetings: () => number
  readonly pushes: () => number
  readonly ending: () => string | undefined
  readonly port: number
  readonly end: () => void
}

let lastId = 0

export const connect = async (target: net.NetConnectOpts): Promise<Talker> => {
  const socket = net.connect({ ...target, noDelay: true } as net.NetConnectOpts)
  const waiting: Array<
    { readonly line: string; readonly resolve: (reply: Reply) => void; readonly reject: (cause: Error) => void }
  > = []
  let rest = ""
  let ending: string | undefined
  let isOurs = false
  let answered = 0
  let pushed = 0
  let greetings = 0
  const over = (why: string) => {
    if (isOurs) return
    ending ??= why
    for (const { reject } of waiting.splice(0)) reject(new Error(`${ending}, after ${JSON.stringify(rest)}`))
  }
  const onLine = (line: string) => {
    if (line.startsWith("hello ")) return void greetings++
    if (line.startsWith("push ")) {
      if (line !== `push ${++pushed}`) over(`${line} came where ${pushed} was to be pushed`)
      return
    }
    const next = waiting.shift()
    if (next === undefined) return over(`an answer that nobody awaited: ${line}`)
    const [number, text, length, pid, generation] = line.split(" ")
    const { line: sent, reject, resolve } = next
    if (Number(number) !== ++answered || text !== sent.slice(0, 20) || Number(length) !== sent.length) {
      return reject(new Error(`${line} came where answer ${answered} to ${sent} was due`))
    }
    resolve({ pid: Number(pid), generation: Number(generation) })
  }
  socket.setEncoding("utf8")
  socket.on("error", (error) => over(error.message))
  socket.on("end", () => over("it was ended"))
  socket.on("close", () => over("it was closed"))
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n")
    rest = lines.pop() ?? ""
    lines.forEach(onLine)
  })
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve)
    socket.once("error", reject)
  })
  const awaitReply = (line: string) =>
    new Promise<Reply>((resolve, reject) => {
      if (ending === undefined) waiting.push({ line, resolve, reject })
      else reject(new Error(ending))
    })
  return {
    say: (text = "") => {
      const line = `${++lastId}.${text}`
      const reply = awaitReply(line)
      socket.write(`${line}\n`)
      return reply
    },
    half: () => {
      const line = `${++lastId}.half`
      socket.write(line.slice(0, 3))
      return {
        finish: () => {
          const reply = awaitReply(line)
          socket.write(`${line.slice(3)}\n`)
          return reply
        }
      }
    },
    greetings: () => greetings,
    pushes: () => pushed,
    ending: () => ending,
    port: socket.localPort ?? 0,
    end: () => {
      isOurs = true
      socket.destroy()
    }
  }
}

export interface Crowd {
  readonly talkers: ReadonlyArray<Talker>
  readonly failures: ReadonlyArray<string>
  /** Answers by generation. */
  readonly generations: ReadonlyMap<number, number>
  readonly rest: () => Promise<void>
  readonly end: () => Promise<void>
}

/** So many of them, with a pause between two lines of each, some of them long. */
export const crowd = async (target: net.NetConnectOpts, count: number, pause: number): Promise<Crowd> => {
  const talkers: Array<Talker> = []
  for (let made = 0; made < count; made += 50) {
    talkers.push(...await Promise.all(Array.from({ length: Math.min(50, count - made) }, () => connect(target))))
  }
  const failures: Array<string> = []
  const generations = new Map<number, number>()
  const long = "x".repeat(100_000)
  let going = true
  const goesOn = () => going
  const run = async (talker: Talker) => {
    while (goesOn()) {
      if (pause > 0) await sleep(Math.random() * pause)
      if (!goesOn()) return
      try {
        const { generation } = await talker.say(Math.random() < 0.1 ? long : "short")
        generations.set(generation, (generations.get(generation) ?? 0) + 1)
      } catch (cause) {
        failures.push(String(cause))
        return
      }
    }
  }
  const runs = talkers.map(run)
  const rest = async () => {
    going = false
    await Promise.all(runs)
  }
  return {
    talkers,
    failures,
    generations,
    rest,
    end: async () => {
      await rest()
      for (const talker of talkers) talker.end()
    }
  }
}
