/**
 * Asking whether a process serves. The socket that it listens on is shared with the process that it is to replace, and a
 * connection goes to whichever is quicker. So each probe first looks who has accepted its connection, and only one that
 * the new process (or a child of it) has accepted counts.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import * as tls from "node:tls"
import type { ProbeOutcome, ProbeTarget } from "../system/probe.ts"
import { accepterOf } from "./accepter.ts"

/** A connection. Only what makes its socket cannot be interrupted: a full accept queue may not answer for minutes. */
const connect = (host: string, port: number): Effect.Effect<net.Socket, string, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => net.connect({ host, port })),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(
    Effect.tap((socket) =>
      Effect.async<void, string>((resume) => {
        socket.once("connect", () => resume(Effect.void))
        socket.on("error", (cause) => resume(Effect.fail(cause.message)))
      })
    )
  )

/** Milliseconds between two looks at who has accepted; more where a look takes long, of very many connections. */
const lookInterval = 5
const lookShare = 0.1

/** A socket that is only accepted when data is there (TCP_DEFER_ACCEPT) is told from a busy one by waiting this long. */
const deferredAfter = 300

const isOurs = (socket: net.Socket, pid: number, patience: number) =>
  Effect.gen(function*() {
    const { localPort = 0, remotePort = 0 } = socket
    const since = performance.now()
    for (;;) {
      const before = performance.now()
      const accepter = accepterOf({ localPort, remotePort }, pid)
      const now = performance.now()
      if (accepter !== "nobody" || now - since >= patience) return accepter
      yield* Effect.sleep(Math.max(lookInterval, (now - before) / lookShare))
    }
  })

const served: ProbeOutcome = { _tag: "Served" }
const refused = (detail: string): ProbeOutcome => ({ _tag: "Refused", detail })
const elsewhere: ProbeOutcome = { _tag: "Elsewhere", detail: "the connection was accepted by another process" }

/** What is to be said of a connection that the process has not accepted, as far as can be known. */
const notOurs = (accepter: ReturnType<typeof accepterOf>, pid: number): ProbeOutcome =>
  accepter === "other"
    ? elsewhere
    : accepter === "unknown"
    ? refused(
      `whether process ${pid} accepts connections cannot be known: /proc/${pid}/fd may not be read, because it runs as ` +
        "another user; it can say that it is ready on a descriptor instead"
    )
    : refused("the connection was not accepted")

/** Whether the process accepts connections there. */
const probeTcp = (
  { host, pid, port }: { readonly host: string; readonly port: number; readonly pid: number }
): Effect.Effect<ProbeOutcome> =>
  connect(host, port).pipe(
    // Interrupted by whoever has no patience left.
    Effect.flatMap((socket) => isOurs(socket, pid, Number.POSITIVE_INFINITY)),
    Effect.map((accepter) => accepter === "family" ? served : notOurs(accepter, pid)),
    Effect.scoped,
    Effect.catchAll((detail) => Effect.succeed(refused(detail)))
  )

const portOf = (url: URL) => url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port)

/** `URL` keeps the brackets of an IPv6 address. */
const hostOf = (url: URL) => url.hostname.replace(/^\[|\]$/g, "")

const request = (url: URL, socket: net.Socket): Effect.Effect<number, string> =>
  Effect.async((resume) => {
    const isTls = url.protocol === "https:"
    // Which certificate it has is not what the probe is for.
    const createConnection = () =>
      isTls ?
        tls.connect({ socket, servername: net.isIP(hostOf(url)) === 0 ? hostOf(url) : "", rejectUnauthorized: false })
        : socket
    const sent = (isTls ? https : http).get(url, {
      createConnection,
      headers: { "user-agent": "tableflip-probe", connection: "keep-alive" }
    }, (response) => {
      response.resume()
      resume(Effect.succeed(response.statusCode ?? 0))
    })
    sent.on("error", (cause) => resume(Effect.fail(cause.message)))
    return Effect.sync(() => sent.destroy())
  })

/** Whether the process answers this request with a status from 200 to 399. */
const probeHttp = ({ pid, url }: { readonly url: URL; readonly pid: number }): Effect.Effect<ProbeOutcome> =>
  Effect.gen(function*() {
    const socket = yield* connect(hostOf(url), portOf(url))
    const accepter = yield* isOurs(socket, pid, deferredAfter)
    if (accepter === "other" || accepter === "unknown") return notOurs(accepter, pid)
    const answer = yield* Effect.fork(request(url, socket))
    if (accepter === "nobody") {
      const after = yield* Effect.raceFirst(
        isOurs(socket, pid, Number.POSITIVE_INFINITY),
        Effect.as(Fiber.await(answer), "nobody" as const)
      )
      if (after !== "family") return notOurs(after, pid)
    }
    const status = yield* Fiber.join(answer)
    return status >= 200 && status < 400 ? served : refused(`the answer has the status ${status}`)
  }).pipe(Effect.scoped, Effect.catchAll((detail) => Effect.succeed(refused(detail))))

export const probe = (target: ProbeTarget): Effect.Effect<ProbeOutcome> =>
  target._tag === "Http" ? probeHttp(target) : probeTcp(target)
