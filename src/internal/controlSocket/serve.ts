/**
 * A control socket: which request asks for what, and how it ends.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type * as net from "node:net"
import { logError } from "../logging.ts"
import type { Exchange } from "./httpServer.ts"
import * as httpServer from "./httpServer.ts"
import type { Journal } from "./journal.ts"
import type { Wait } from "./protocol.ts"
import type { Reply } from "./reply.ts"
import { invalid, refusal } from "./reply.ts"
import type { Target } from "./target.ts"

type Handler = (exchange: Exchange, target: Target) => Effect.Effect<Reply>

const waits: ReadonlyArray<string> = ["switched", "drained"]

const waiting =
  (handle: (target: Target, wait: Wait | undefined, leave: Effect.Effect<void>) => Effect.Effect<Reply>): Handler =>
  ({ leave, url }, target) => {
    const wait = url.searchParams.get("wait")
    return wait === null || waits.includes(wait)
      ? handle(target, wait as Wait | null ?? undefined, Effect.sync(leave))
      : Effect.succeed(invalid(`wait is ${JSON.stringify(wait)}; it must be ${waits.join(" or ")}`, target.identity()))
  }

const bodyOf = (body: string): Record<string, unknown> | undefined => {
  try {
    const json: unknown = JSON.parse(body)
    return typeof json === "object" && json !== null ? json as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

const scale: Handler = ({ body }, target) => {
  const json = bodyOf(body)
  return json === undefined
    ? Effect.succeed(invalid(`The body must be {"size": N}`, target.identity()))
    : target.scale(json["size"])
}

interface Route {
  readonly method: "GET" | "POST"
  readonly path: RegExp
  readonly handle: Handler
}

const routes: ReadonlyArray<Route> = [
  {
    method: "GET",
    path: /^\/v1\/status$/,
    handle: (_, target) => Effect.map(target.status, (json) => ({ status: 200, json }))
  },
  {
    method: "POST",
    path: /^\/v1\/reload$/,
    handle: waiting((target, wait = "switched", leave) => target.reload(wait, leave))
  },
  { method: "POST", path: /^\/v1\/stop$/, handle: waiting((target, wait) => target.stop(wait)) },
  { method: "POST", path: /^\/v1\/scale$/, handle: scale },
  {
    method: "POST",
    path: /^\/v1\/replace(?:\/\d{1,9})?$/,
    handle: ({ url }, target) => {
      const [, index] = /\/(\d+)$/.exec(url.pathname) ?? []
      return target.replace(index === undefined ? undefined : Number(index))
    }
  }
]

const eventsPath = "/v1/events"

const endpoints =
  "GET /v1/status, POST /v1/reload, POST /v1/stop, POST /v1/scale, POST /v1/replace, POST /v1/replace/INDEX, GET /v1/events"

const replyTo: Handler = (exchange, target) => {
  const { method, url: { pathname } } = exchange
  const route = routes.find(({ path }) => path.test(pathname))
  if (route?.method === method) return route.handle(exchange, target)
  const allowed = route?.method ?? (pathname === eventsPath ? "GET" : undefined)
  return Effect.succeed(
    allowed === undefined
      ? refusal(
        404,
        { _tag: "NotFoundError", message: `There is no ${pathname}. There is ${endpoints}` },
        target.identity()
      )
      : {
        ...refusal(
          405,
          { _tag: "MethodNotAllowedError", message: `${pathname} takes ${allowed}, not ${method}` },
          target.identity()
        ),
        headers: { allow: allowed }
      }
  )
}

/** How long what is on its way may take when everything else has ended. */
const endTimeout = "1 second"

export const serve: <E, R>(
  controlled: { readonly target: Target; readonly journal: Journal },
  listen: (server: net.Server) => Effect.Effect<unknown, E, R>
) => Effect.Effect<void, E, R | Scope.Scope> = Effect.fnUntraced(function*({ journal, target }, listen) {
  const follow = (exchange: Exchange) =>
    Effect.zipWith(
      target.status,
      Clock.currentTimeMillis,
      (status, now) => journal.follow(exchange.stream(), { _tag: "Status", ...status }, now)
    )

  const respond = (exchange: Exchange): Effect.Effect<void> =>
    exchange.method === "GET" && exchange.url.pathname === eventsPath
      ? follow(exchange)
      : Effect.map(replyTo(exchange, target), exchange.answer)

  const handle = (exchange: Exchange) =>
    Effect.catchAllCause(respond(exchange), (cause) =>
      Effect.zipRight(
        logError("The control socket failed to answer a request", cause),
        Effect.sync(() =>
          exchange.answer(
            refusal(500, { _tag: "Defect", message: "This is a bug; the log has more" }, target.identity())
          )
        )
      )).pipe(
        // What was asked for goes on; only the wait for it has nobody any more.
        Effect.raceFirst(Effect.async<void>((resume) => exchange.onGone(() => resume(Effect.void))))
      )

  const run = yield* FiberSet.makeRuntime<never>()
  const server = httpServer.make(target.identity, (exchange) => void run(handle(exchange)))
  yield* listen(server.server)
  yield* Effect.addFinalizer(() =>
    target.end.pipe(
      Effect.zipRight(Clock.currentTimeMillis),
      Effect.map(journal.end),
      Effect.zipRight(
        Effect.timeoutOption(
          Effect.interruptible(Effect.async<void>((resume) => server.finish(() => resume(Effect.void)))),
          endTimeout
        )
      ),
      Effect.zipRight(Effect.sync(server.destroy))
    )
  )
})
