/**
 * Asking at a control socket. Nothing of Effect is here: a client is to answer at once.
 *
 * @internal
 */
import * as fs from "node:fs"
import type * as http from "node:http"
import * as path from "node:path"
import type { ErrorJson, EventJson, Status } from "../controlSocket/protocol.ts"
import * as protocol from "../controlSocket/protocol.ts"
import { longestTimer } from "../timer.ts"

/** What the exit code of a client tells. Numbers from 64 are those of sysexits.h, as far as there is one for it. */
export const exitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  nobodyThere: 69,
  unknown: 75,
  otherProtocol: 76,
  noPermission: 77
} as const

/** Why there is no answer, or no good one. */
export class ClientError extends Error {
  readonly code: number
  readonly json: ErrorJson
  constructor(code: number, json: ErrorJson) {
    super(json.message)
    this.code = code
    this.json = json
  }
}

/** The connection has broken, or the time is up, when the request may have been heard. */
export class UnknownOutcomeError extends ClientError {
  constructor(message: string) {
    super(exitCode.unknown, { _tag: "UnknownOutcomeError", message })
  }
}

export interface Answer {
  readonly status: number
  readonly json: any
}

export interface Client {
  readonly status: () => Promise<Status>
  readonly post: (path: string, body?: object) => Promise<Answer>
  /** Calls for each line until the stream ends; tells whether its last line has come. */
  readonly follow: (onEvent: (event: EventJson & Record<string, any>, line: string) => void) => Following
}

export interface Following {
  readonly begun: Promise<void>
  readonly ended: Promise<{ readonly isWhole: boolean }>
  readonly stop: () => void
}

/** Linux refuses a connection to a file that is no socket as it does one to a socket that nobody has. */
const isOtherFile = (file: string): boolean => fs.statSync(file, { throwIfNoEntry: false })?.isSocket() === false

/** Where the name of a file is too long for a socket, the way to it from the current directory may do. */
const reach = (file: string): string => Buffer.byteLength(file) > 107 ? path.relative(process.cwd(), file) : file

const ofSystemError = (at: string, error: NodeJS.ErrnoException, wasSent: boolean): Error => {
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
    case "ECONNREFUSED":
    case "ENOTSOCK":
      return new ClientError(exitCode.nobodyThere, {
        _tag: "NobodyThereError",
        message: error.code === "ENOTSOCK" || error.code === "ECONNREFUSED" && isOtherFile(at)
          ? `${at} is no socket`
          : error.code === "ECONNREFUSED"
          ? `Nobody answers at ${at}: the process that had this socket is gone`
          : `There is no control socket at ${at}: is the service running, and is this the path that it was given?`
      })
    case "EACCES":
    case "EPERM":
      return new ClientError(exitCode.noPermission, {
        _tag: "PermissionDeniedError",
        message: `This user may not open ${at}; ask as the user of the service, or as root`
      })
    default:
      return error.code?.startsWith("HPE_") === true
        ? otherProtocol(at)
        : wasSent
        ? new UnknownOutcomeError("The connection was lost before the answer came")
        : new ClientError(exitCode.nobodyThere, { _tag: "NobodyThereError", message: `${at}: ${error.message}` })
  }
}

const otherProtocol = (at: string): ClientError =>
  new ClientError(exitCode.otherProtocol, {
    _tag: "OtherProtocolError",
    message: `What answers at ${at} is no control socket of effect-tableflip, or one of a newer protocol`
  })

/** `until` is when all is to be over, by `performance.now()`. */
export const make = async (at: string, until: number): Promise<Client> => {
  const { request } = await import("node:http")
  const socketPath = reach(path.resolve(at))

  const late = () =>
    new UnknownOutcomeError("No answer has come in time; it may still come about, as tableflip status will tell")

  const open = (
    method: string,
    to: string,
    body: object | undefined,
    onResponse: (response: http.IncomingMessage) => void,
    onError: (error: Error) => void
  ) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    let wasSent = false
    const sent = request({
      socketPath,
      path: to,
      method,
      agent: false,
      headers: text === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }
    }, (response) => {
      if (response.headers[protocol.header] === String(protocol.version)) return onResponse(response)
      onError(otherProtocol(at))
      sent.destroy()
    })
    sent.on("socket", (socket) => {
      socket.once("connect", () => {
        wasSent = true
      })
    })
    sent.on("error", (error) => onError(ofSystemError(at, error, wasSent)))
    sent.end(text)
    return sent
  }

  const ask = (method: string, to: string, body?: object) =>
    new Promise<Answer>((resolve, reject) => {
      const left = until - performance.now()
      const timer = Number.isFinite(left)
        ? setTimeout(() => {
          reject(late())
          sent.destroy()
        }, Math.min(Math.max(0, left), longestTimer))
        : undefined
      const fail = (error: Error) => {
        clearTimeout(timer)
        reject(error)
      }
      const sent = open(method, to, body, (response) => {
        let text = ""
        response.setEncoding("utf8")
        response.on("data", (part: string) => {
          text += part
        })
        response.on("error", () => fail(new UnknownOutcomeError("The connection was lost within the answer")))
        response.on("end", () => {
          clearTimeout(timer)
          try {
            resolve({ status: response.statusCode ?? 0, json: JSON.parse(text) })
          } catch {
            reject(otherProtocol(at))
          }
        })
      }, fail)
    })

  return {
    status: async () => {
      const { json, status } = await ask("GET", "/v1/status")
      if (status !== 200) throw ofAnswer({ json, status })
      return json as Status
    },
    post: (to, body) => ask("POST", to, body),
    follow: (onEvent) => {
      let isStopped = false
      let isWhole = false
      let onEnd: (end: { readonly isWhole: boolean }) => void = () => {}
      let sent: http.ClientRequest
      const ended = new Promise<{ readonly isWhole: boolean }>((resolve) => {
        onEnd = resolve
      })
      const begun = new Promise<void>((resolve, reject) => {
        const fail = (error: Error) => {
          reject(error)
          onEnd({ isWhole })
        }
        sent = open("GET", "/v1/events", undefined, (response) => {
          if (response.statusCode !== 200) {
            response.resume()
            return fail(tooMany)
          }
          let rest = ""
          response.setEncoding("utf8")
          response.on("data", (text: string) => {
            const lines = (rest + text).split("\n")
            rest = lines.pop() ?? ""
            for (const line of lines) {
              const event = JSON.parse(line) as EventJson
              isWhole ||= event._tag === "Ended"
              if (!isStopped) onEvent(event, line)
            }
            resolve()
          })
          response.on("error", () => {})
          response.on("close", () => {
            resolve()
            onEnd({ isWhole })
          })
        }, fail)
      })
      return {
        begun,
        ended,
        stop: () => {
          isStopped = true
          sent.destroy()
        }
      }
    }
  }
}

const tooMany = new ClientError(exitCode.refused, {
  _tag: "TooManyConnectionsError",
  message: "The control socket takes no more clients now; try again later"
})

/** An answer that is no success. */
export const ofAnswer = ({ json, status }: Answer): ClientError => {
  const error = typeof json?.error?.message === "string"
    ? json.error
    : { _tag: "UnknownError", message: `An answer with status ${status} and without a reason` }
  const code = status === 409 || status === 503
    ? exitCode.refused
    : status === 400
    ? exitCode.usage
    : exitCode.failed
  return new ClientError(code, error)
}
