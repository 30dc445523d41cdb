/**
 * Requests that an upgrade comes upon after any of their bytes: the client has sent so much, pauses, and goes on when
 * another process serves.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as net from "node:net"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { reportOf } from "../kit/upgrading.ts"
import { eventually } from "../kit/waiting.ts"

interface Answer {
  readonly pid: number
  readonly id: string
  readonly length: number
  readonly saysClose: boolean
}

/** A client that sends bytes and takes what comes for answers. */
interface Client {
  readonly write: (bytes: string) => void
  readonly answers: ReadonlyArray<Answer>
  /** What has come that is no whole answer. */
  readonly rest: () => string
  readonly ending: () => string | undefined
  readonly end: () => void
}

const connect = (port: number) =>
  new Promise<Client>((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
    const answers: Array<Answer> = []
    let rest = ""
    let ending: string | undefined
    socket.setEncoding("utf8")
    socket.once("error", reject)
    socket.on("error", ({ message }) => {
      ending ??= message
    })
    socket.on("close", () => {
      ending ??= "closed"
    })
    socket.on("data", (text: string) => {
      rest += text
      for (;;) {
        const head = rest.indexOf("\r\n\r\n")
        const length = Number(/^content-length: (\d+)/im.exec(rest.slice(0, head))?.[1])
        if (head < 0 || rest.length < head + 4 + length) return
        const saysClose = /^connection: close/im.test(rest.slice(0, head))
        answers.push({ ...JSON.parse(rest.slice(head + 4, head + 4 + length)), saysClose })
        rest = rest.slice(head + 4 + length)
      }
    })
    socket.once("connect", () =>
      resolve({
        write: (bytes) => void socket.write(bytes),
        answers,
        rest: () => rest,
        ending: () => ending,
        end: () => socket.destroy()
      }))
  })

let lastId = 0

interface Request {
  readonly id: string
  readonly text: string
  readonly length: number
}

const get = (): Request => {
  const id = `r${++lastId}`
  return { id, text: `GET /?id=${id} HTTP/1.1\r\nHost: x\r\n\r\n`, length: 0 }
}

const post = (): Request => {
  const id = `r${++lastId}`
  return { id, text: `POST /?id=${id} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody`, length: 4 }
}

const chunked = (): Request => {
  const id = `r${++lastId}`
  const head = `POST /?id=${id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`
  return { id, text: `${head}2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n`, length: 4 }
}

const textOf = (requests: ReadonlyArray<Request>) => requests.map(({ text }) => text).join("")

/** One of each length of its bytes: what is sent before the upgrade. */
const cutsOf = (make: () => ReadonlyArray<Request>) =>
  Array.from({ length: textOf(make()).length + 1 }, (_, cut) => ({ cut, requests: make() }))

interface Trial {
  readonly client: Client
  readonly sent: Array<Request>
  readonly rest: string
  /** The first byte that is missing, and of what. */
  readonly what: string
}

const hasAll = ({ client, sent }: Trial) => client.answers.length >= sent.length || client.ending() !== undefined

const allAnswered = (trials: ReadonlyArray<Trial>) =>
  eventually("every answer", () => trials.every(hasAll), {
    within: "60 seconds",
    seen: () => trials.filter((trial) => !hasAll(trial)).map(({ what }) => what).join("\n")
  })

const send = (trial: Trial, request: Request) => {
  trial.sent.push(request)
  trial.client.write(request.text)
}

/** Each request was given to an app once. */
const givenOnce = (app: Handle, trials: ReadonlyArray<Trial>) => {
  const counts = new Map<string, number>()
  for (const line of app.lines()) {
    const id = /^REQUEST \d+ (\S+)/.exec(line)?.[1]
    if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  for (const { sent, what } of trials) {
    assert.deepStrictEqual(
      sent.map(({ id }) => counts.get(id)),
      sent.map(() => 1),
      what
    )
  }
}

const scenario = (name: string, make: () => ReadonlyArray<Request>) =>
  it.scopedLive(`${name}: each is answered once, on its own connection`, () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("keeping.mjs"), {
        app: { tellsRequests: true, server: { keepAliveTimeout: 60_000 } }
      })
      const first = yield* app.up(1)
      const trials: Array<Trial> = []
      yield* Effect.addFinalizer(() => Effect.sync(() => trials.forEach(({ client }) => client.end())))
      for (const isUsed of [true, false]) {
        for (const { cut, requests } of cutsOf(make)) {
          const client = yield* Effect.promise(() => connect(first.port))
          const text = textOf(requests)
          const trial: Trial = {
            client,
            sent: [],
            rest: text.slice(cut),
            what: `${isUsed ? "used" : "new"}, after ${cut} of ${text.length} bytes`
          }
          if (isUsed) send(trial, get())
          trial.sent.push(...requests)
          trials.push(trial)
          yield* eventually("the first answer", () => client.answers.length >= (isUsed ? 1 : 0))
          client.write(text.slice(0, cut))
        }
      }
      yield* signal(first.pid, "SIGHUP")
      const second = yield* app.up(2)
      yield* app.waitFor(new RegExp(`^EVENT ${first.pid} Draining`))
      // Some go on at once, and the others when those have been answered.
      const isEarly = (_: Trial, index: number) => index % 2 === 0
      const halves = [trials.filter(isEarly), trials.filter((trial, index) => !isEarly(trial, index))]
      for (const half of halves) {
        for (const { client, rest } of half) client.write(rest)
        yield* allAnswered(half)
      }
      const { handedOver, open } = yield* reportOf(app, first.pid)
      assert.deepStrictEqual([open, handedOver], [trials.length, trials.length])
      for (const trial of trials) send(trial, get())
      yield* allAnswered(trials)
      for (const { client, sent, what } of trials) {
        assert.deepStrictEqual([client.ending(), client.rest()], [undefined, ""], what)
        assert.deepStrictEqual(
          client.answers.map(({ id, length }) => ({ id, length })),
          sent.map(({ id, length }) => ({ id, length })),
          what
        )
        assert.isFalse(client.answers.some(({ saysClose }) => saysClose), what)
        assert.strictEqual(client.answers.at(-1)?.pid, second.pid, what)
      }
      givenOnce(app, trials)
    }), 120_000)

describe.runIf(isLinux)("an upgrade that comes after any byte of", () => {
  scenario("a request with a body", () => [post()])

  scenario("a request with a body in chunks", () => [chunked()])

  scenario("two requests in a pipeline", () => [get(), post()])
})
