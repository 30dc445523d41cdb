/** Clients that share a few HTTP/2 sessions, many streams at a time on each. */
import * as http2 from "node:http2"
import { answered, codeOf, count, options, patience, pause, run, stopped, tally, unanswered } from "./client.ts"

export interface Options {
  readonly port: number
  readonly secure: boolean
  readonly sessions: number
  readonly streams: number
  /** Whether a request that was not executed is sent again, as RFC 9113 8.7 allows. */
  readonly retry: boolean
}

const { port, retry, secure, sessions, streams } = options<Options>()

class Refused extends Error {}

const refused = (error: NodeJS.ErrnoException, id: number | undefined): boolean =>
  /NGHTTP2_REFUSED_STREAM/.test(error.message) ||
  error.code === "ERR_HTTP2_GOAWAY_SESSION" ||
  // It never got a number: the session closed before the stream was sent.
  (error.code === "ERR_HTTP2_STREAM_CANCEL" && id === undefined)

const shared = () => {
  let session: http2.ClientHttp2Session | undefined
  return {
    session: (): http2.ClientHttp2Session => {
      if (session !== undefined && !session.closed && !session.destroyed) return session
      const fresh = http2.connect(`${secure ? "https" : "http"}://127.0.0.1:${port}`, { rejectUnauthorized: false })
      const forget = () => {
        if (session === fresh) session = undefined
      }
      fresh.on("goaway", forget).on("close", forget).on("error", forget)
      session = fresh
      return fresh
    },
    close: () => session?.close()
  }
}

const ask = (session: http2.ClientHttp2Session) =>
  new Promise<void>((resolve, reject) => {
    const stream = session.request({ ":path": "/" })
    let status = 0
    let text = ""
    stream.on("response", (headers) => {
      status = headers[":status"] ?? 0
    })
    // A connection may be accepted and then forgotten, and with it every stream of the session.
    const timer = setTimeout(() => {
      stream.destroy(new Error(unanswered))
      session.destroy()
    }, patience)
    stream.on("error", (error) => {
      reject(refused(error, stream.id) ? new Refused(codeOf(error)) : error)
    })
    stream.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
    stream.on("close", () => {
      clearTimeout(timer)
      if (status === 200 && /^\d+$/.test(text)) resolve()
      else reject(new Error(`closed with status ${status}, code ${stream.rstCode}`))
    })
    stream.end()
  })

const request = async (session: () => http2.ClientHttp2Session): Promise<void> => {
  tally.requests++
  const begin = performance.now()
  for (let tries = 1;; tries++) {
    try {
      await ask(session())
      return answered(begin)
    } catch (error) {
      if (!(error instanceof Refused)) return count(tally.failed, codeOf(error))
      count(tally.again, "refused")
      if (!retry) return
      if (tries === 20) return count(tally.failed, "refused 20 times")
    }
  }
}

run(sessions, async () => {
  const { close, session } = shared()
  await Promise.all(Array.from({ length: streams }, async () => {
    while (!stopped.aborted) {
      await request(session)
      await pause(Math.random() * 40)
    }
  }))
  close()
})
