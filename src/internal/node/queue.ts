/**
 * Sockets on which the kernel queues connections while nobody accepts them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as childProcess from "node:child_process"
import { constants } from "node:os"
import { format } from "../../Address.ts"
import type { QueueingSocket } from "../../Env.ts"
import { ListenError } from "../../TableflipError.ts"
import * as internals from "./internals.ts"
import { listenError } from "./sockets.ts"

/**
 * In Node, listening is accepting: libuv cannot do the one without the other. The sockets are shared between processes,
 * though, and so is that they listen. So a short-lived process makes the call, and ends in the same turn of its event
 * loop, before it could accept anything.
 */
const program = `
const net = require("node:net")
const fs = require("node:fs")
process.argv.slice(1).forEach((backlog, index) => {
  const server = net.createServer()
  server.on("error", (error) => {
    fs.writeSync(1, index + " " + error.code)
    process.exit(1)
  })
  server.listen({ fd: index + 3, backlog: Number(backlog) })
})
process.nextTick(() => process.exit(0))
`

/** Far more than it takes; what hangs must not hang for ever. */
const timeout = 30_000

const listenOn = (sockets: ReadonlyArray<QueueingSocket>, descriptors: ReadonlyArray<number>) =>
  Effect.async<void, ListenError>((resume) => {
    const fail = (index: number, cause: unknown) => {
      const socket = sockets[index] ?? sockets[0]
      resume(socket === undefined ? Effect.void : Effect.fail(listenError(socket.address, cause)))
    }
    const backlogs = sockets.map(({ address }) => String(address.backlog ?? internals.defaultBacklog))
    const child = childProcess.spawn(process.execPath, ["-e", program, ...backlogs], {
      stdio: ["ignore", "pipe", "inherit", ...descriptors],
      // The options of the one who starts us are for the program, not for this.
      env: {},
      timeout,
      killSignal: "SIGKILL"
    })
    let said = ""
    child.stdout?.on("data", (bytes: Buffer) => {
      said += bytes.toString()
    })
    child.on("error", (cause) => fail(0, cause))
    child.once("close", (code, signal) => {
      if (code === 0) return resume(Effect.void)
      const [, index, name] = /^(\d+) (\w+)$/.exec(said) ?? []
      const errno = constants.errno[name as keyof typeof constants.errno] as number | undefined
      fail(
        Number(index ?? 0),
        errno === undefined ? new Error(`the process that was to listen ended with ${signal ?? code}`) : -errno
      )
    })
  })

const closed = ({ address }: QueueingSocket) =>
  new ListenError({ reason: "WrongDescriptor", address: format(address), detail: "the socket is closed" })

/** Everything listens, or the first that cannot is named. */
export const queueConnections = (sockets: ReadonlyArray<QueueingSocket>): Effect.Effect<void, ListenError> =>
  Effect.gen(function*() {
    if (sockets.length === 0) return
    const descriptors = yield* Effect.forEach(sockets, (socket) =>
      Option.match(socket.listener.descriptor(), {
        onNone: () => Effect.fail(closed(socket)),
        onSome: Effect.succeed
      }))
    yield* Effect.forEach(sockets, ({ listener }) => listener.prepare, { discard: true })
    yield* listenOn(sockets, descriptors)
    for (const { listener } of sockets) {
      const error = listener.publish()
      if (error !== undefined) return yield* error
    }
  }).pipe(Effect.uninterruptible)
