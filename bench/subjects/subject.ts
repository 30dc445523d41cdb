/** What is measured: a way to run a server and to replace it by a newer one while it is under load. */
import type { Crowd } from "../../test/kit/crowd/crowd.ts"
import type * as generations from "../../test/kit/generations.ts"

/** What a subject is asked to speak. `http2` is over TLS. */
export type Protocol = "http" | "https" | "http2" | "ws"

export interface Running {
  readonly port: number
  /** Replaces the server and returns when nothing of the older one is left. */
  readonly upgrade: () => Promise<void>
  /** Every process that works for it, if that can be told. */
  readonly everyPid?: () => ReadonlyArray<number>
}

export interface Subject {
  readonly name: string
  readonly title: string
  /** Whether it is ours: then a failed request is a failure of the bench. */
  readonly ours: boolean
  readonly protocols: ReadonlyArray<Protocol>
  /** How to get what this machine lacks; nothing if all is there. */
  readonly missing: () => string | undefined
  /** Where its WebSockets are; `/` by default. */
  readonly webSocketPath?: string
  /** Has it running for as long as `use` takes. */
  readonly run: <A>(protocol: Protocol, use: (running: Running) => Promise<A>) => Promise<A>
}

/** Something that the clients of a load do to a subject. */
export type StartClients = (subject: Subject, port: number) => Crowd

export interface ProcessesOptions {
  readonly port: number
  /** How many processes serve at a time. */
  readonly count: number
  /** Asks for the upgrade. */
  readonly ask: () => void
  /** They also say `ALONE <pid>` when they know that the older one has ended. */
  readonly sayAlone?: boolean
}

/**
 * Processes that share one standard output and say `UP <pid>` when they serve and `EXIT <pid>` when they end: an upgrade
 * is over when as many new ones are up and all older ones have ended.
 */
export const processes = async (
  server: generations.Generations,
  { ask, count, port, sayAlone = false }: ProcessesOptions
): Promise<Running & { readonly pids: () => ReadonlyArray<number> }> => {
  const known: Array<number> = []
  const nextUp = async (from: number) => {
    const others = known.length === 0 ? "" : `(?!(?:${known.join("|")})$)`
    const [pid] = await server.line(new RegExp(`^UP ${others}(\\d+)$`), { from })
    known.push(Number(pid))
    return Number(pid)
  }
  const generation = async (from: number) => {
    const pids: Array<number> = []
    for (let index = 0; index < count; index++) pids.push(await nextUp(from))
    return pids
  }
  let current = await generation(0)
  return {
    port,
    pids: () => current,
    upgrade: async () => {
      const from = server.position()
      const older = current
      ask()
      current = await generation(from)
      await Promise.all(older.map((pid) => server.line(new RegExp(`^EXIT ${pid}\\b`), { from })))
      if (sayAlone) await Promise.all(current.map((pid) => server.line(new RegExp(`^ALONE ${pid}$`), { from })))
    }
  }
}
