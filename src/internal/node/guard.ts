/**
 * Listening sockets that are shared with processes that may break them for everybody: `shutdown(2)` on one of them, or
 * the removal of its path, ends it for whoever else listens there.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import type { Address, PortAddress } from "../../Address.ts"
import { format, isFile, isPath } from "../../Address.ts"
import type { SharedSocket, SocketDamage } from "../system/socket.ts"
import { fileIdentity, unlinkOwn } from "./identity.ts"
import * as procSockets from "./procSockets.ts"
import { listenAgain } from "./queue.ts"

const detailOf = (cause: unknown) => cause instanceof Error ? cause.message : String(cause)

/** A second name of the same socket, under which it is still there when its path has been removed. */
const keep = (socketPath: string) => {
  const kept = path.join(path.dirname(socketPath), `.${path.basename(socketPath)}.tableflip`)
  const own = fileIdentity(socketPath)
  let problem: string | undefined
  try {
    fs.rmSync(kept, { force: true })
    fs.linkSync(socketPath, kept)
  } catch (cause) {
    problem = detailOf(cause)
  }
  const restore = (): string | undefined => {
    if (problem !== undefined) return problem
    try {
      return void fs.linkSync(kept, socketPath)
    } catch (cause) {
      return detailOf(cause)
    }
  }
  const current = () => fileIdentity(socketPath)
  return {
    isGone: () => current() === undefined,
    isOther: () => {
      const found = current()
      return found !== undefined && own !== undefined && (found.ino !== own.ino || found.dev !== own.dev)
    },
    restore,
    release: own === undefined ? Effect.void : unlinkOwn(kept, own)
  }
}

/** Nobody who has shut a Unix socket down can take it back. A connection shows it, and nothing else does. */
const refuses = (socketPath: string): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const probe = net.connect(socketPath)
    probe.once("connect", () => {
      probe.destroy()
      resume(Effect.succeed(false))
    })
    probe.once("error", ({ code }: NodeJS.ErrnoException) => resume(Effect.succeed(code === "ECONNREFUSED")))
    return Effect.sync(() => probe.destroy())
  })

const damage = (address: Address, what: SocketDamage["what"], problem: string | undefined): SocketDamage => ({
  address: format(address),
  what,
  problem
})

const lookAtPath = Effect.fnUntraced(
  function*(address: Address & { readonly path: string }, kept: ReturnType<typeof keep>, connects: boolean) {
    if (kept.isGone()) return [damage(address, "PathRemoved", kept.restore())]
    if (kept.isOther()) return [damage(address, "PathTaken", "what is there now belongs to somebody else")]
    if (!connects || !(yield* refuses(address.path))) return []
    return [damage(address, "ShutDown", "the system cannot have a Unix socket listen again")]
  }
)

const lookAtPort = Effect.fnUntraced(function*(address: PortAddress, descriptor: number) {
  if (procSockets.isListening(descriptor)) return []
  const problem = yield* Effect.match(listenAgain(address, descriptor), {
    onSuccess: () => lostPort(address, descriptor),
    onFailure: (error) => error.detail
  })
  return [damage(address, "ShutDown", problem)]
})

/** A socket keeps only a port that was asked for; instead of one that the system chose, it chooses another. */
const lostPort = ({ port }: PortAddress, descriptor: number): string | undefined => {
  const now = procSockets.addressOf(descriptor)
  return now === undefined || isPath(now) || now.port === port
    ? undefined
    : `the system, which had chosen this port, has it now at port ${now.port}`
}

export const guardSockets = (
  sockets: ReadonlyArray<SharedSocket>
): Effect.Effect<
  (options: { readonly connects: boolean }) => Effect.Effect<ReadonlyArray<SocketDamage>>,
  never,
  Scope.Scope
> =>
  Effect.map(
    Effect.forEach(sockets, ({ address, descriptor }) => {
      if (!isFile(address)) {
        // One of which nothing is known here is left alone.
        const isKnown = procSockets.isListening(descriptor)
        return Effect.succeed(() => isKnown ? lookAtPort(address, descriptor) : Effect.succeed([]))
      }
      return Effect.map(
        Effect.acquireRelease(Effect.sync(() => keep(address.path)), ({ release }) => release),
        (kept) => (connects: boolean) => lookAtPath(address, kept, connects)
      )
    }),
    (looks) => ({ connects }) => Effect.map(Effect.forEach(looks, (look) => look(connects)), (all) => all.flat())
  )
