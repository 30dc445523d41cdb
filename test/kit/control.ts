/** Asking at a control socket, without the command. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as http from "node:http"
import * as net from "node:net"
import { eventually } from "./waiting.ts"

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly json: any
}

export interface Question {
  readonly method?: string
  readonly body?: string
  readonly headers?: http.OutgoingHttpHeaders
}

/** One request on a connection of its own. */
export const request = (
  socketPath: string,
  path: string,
  { body, headers, method = "GET" }: Question = {}
): Effect.Effect<Answer, Error> =>
  Effect.async((resume) => {
    const asked = http.request(
      { socketPath, path, method, agent: false, ...headers === undefined ? {} : { headers } },
      (response) => {
        let text = ""
        response.setEncoding("utf8")
        response.on("data", (part: string) => {
          text += part
        })
        response.on("error", (error) => resume(Effect.fail(error)))
        response.on("end", () => {
          const { headers, statusCode = 0 } = response
          resume(Effect.sync(() => ({ status: statusCode, headers, json: JSON.parse(text) })))
        })
      }
    )
    asked.on("error", (error) => resume(Effect.fail(error)))
    asked.end(body)
    return Effect.sync(() => asked.destroy())
  })

export const post = (socketPath: string, path: string, body?: unknown): Effect.Effect<Answer, Error> =>
  request(socketPath, path, { method: "POST", ...body === undefined ? {} : { body: JSON.stringify(body) } })

/** The status, once somebody answers. */
export const status = (socketPath: string): Effect.Effect<any, Error> =>
  Effect.map(request(socketPath, "/v1/status"), ({ json }) => json)

export interface Followed {
  readonly events: ReadonlyArray<any>
  readonly waitFor: (tag: string, count?: number) => Effect.Effect<any>
  readonly isOver: () => boolean
}

/** The events from now on, once the first line has come. */
export const follow = (socketPath: string): Effect.Effect<Followed, never, Scope.Scope> =>
  Effect.gen(function*() {
    const events: Array<any> = []
    let isOver = false
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        const asked = http.request({ socketPath, path: "/v1/events", agent: false }, (response) => {
          let rest = ""
          response.setEncoding("utf8")
          response.on("data", (text: string) => {
            const lines = (rest + text).split("\n")
            rest = lines.pop() ?? ""
            events.push(...lines.map((line) => JSON.parse(line)))
          })
          response.on("error", () => {})
          response.on("close", () => {
            isOver = true
          })
        })
        asked.on("error", () => {
          isOver = true
        })
        return asked.end()
      }),
      (asked) => Effect.sync(() => asked.destroy())
    )
    const waitFor = (tag: string, count = 1) =>
      eventually(`${count} event(s) ${tag}`, () => events.filter(({ _tag }) => _tag === tag)[count - 1], {
        seen: () => events.map((event) => JSON.stringify(event)).join("\n")
      })
    yield* waitFor("Status")
    return { events, waitFor, isOver: () => isOver }
  })

/** Sends these bytes and gives all that comes until the other end has closed. */
export const raw = (socketPath: string, bytes: string | Uint8Array): Effect.Effect<string> =>
  Effect.async((resume) => {
    let text = ""
    const socket = net.connect(socketPath, () => socket.write(bytes))
    socket.setEncoding("utf8")
    socket.on("data", (part: string) => {
      text += part
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(text)))
    return Effect.sync(() => socket.destroy())
  })
