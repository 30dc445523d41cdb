/** Clients that ask over a new connection each time, and say which process has answered. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as http from "node:http"

export interface Answer {
  readonly pid: number
  readonly generation: number
  readonly tag: string
  readonly body: string
}

type Target = number | string | http.RequestOptions

const toOptions = (target: Target): http.RequestOptions =>
  typeof target === "number"
    ? { host: "127.0.0.1", port: target }
    : typeof target === "string"
    ? { socketPath: target }
    : target

/** One request over a connection of its own. */
export const ask = (
  target: Target,
  options: { readonly path?: string; readonly within?: number } = {}
): Effect.Effect<Answer, NodeJS.ErrnoException> =>
  Effect.async((resume) => {
    const { path = "/", within = 10_000 } = options
    const request = http.get({ agent: false, ...toOptions(target), path }, (response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (text: string) => {
        body += text
      })
      response.on("error", (error) => resume(Effect.fail(error)))
      response.on("end", () => {
        const [pid, generation, tag = ""] = body.split(" ")
        resume(Effect.succeed({ pid: Number(pid), generation: Number(generation), tag, body }))
      })
    })
    request.setTimeout(within, () => request.destroy(new Error(`no answer within ${within} ms`)))
    request.on("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => request.destroy())
  })

export interface Load {
  /** Answers by process. */
  readonly answers: Map<number, number>
  readonly failures: Array<string>
  readonly slowest: () => number
  /** Lets the requests in flight finish and starts no more. */
  readonly stop: Effect.Effect<void>
}

/** Clients that ask all the time, each request over a new connection. */
export const load = (target: Target, clients = 3, within = 10_000): Effect.Effect<Load, never, Scope.Scope> =>
  Effect.gen(function*() {
    const answers = new Map<number, number>()
    const failures: Array<string> = []
    let slowest = 0
    let going = true
    const once = Effect.suspend(() => {
      const from = performance.now()
      return Effect.match(ask(target, { within }), {
        onSuccess: ({ pid }) => {
          answers.set(pid, (answers.get(pid) ?? 0) + 1)
          slowest = Math.max(slowest, performance.now() - from)
        },
        onFailure: (error) => {
          failures.push(`${error.code ?? ""} ${error.message}`)
        }
      })
    })
    const client = once.pipe(Effect.zipRight(Effect.sleep("2 millis")), Effect.repeat({ while: () => going }))
    const fibers = yield* Effect.replicateEffect(Effect.forkScoped(client), clients)
    return {
      answers,
      failures,
      slowest: () => slowest,
      stop: Effect.suspend(() => {
        going = false
        return Effect.asVoid(Fiber.joinAll(fibers))
      })
    }
  })
