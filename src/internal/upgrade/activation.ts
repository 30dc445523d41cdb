/**
 * What a service manager has opened for this program, by `LISTEN_FDS`. It goes on through upgrades, and always belongs to
 * the manager, which keeps it and may start the program again with it.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Address, FdName } from "../../Address.ts"
import * as address from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import { ProtocolError } from "../../TableflipError.ts"
import { logWarning } from "../logging.ts"
import { fromResult } from "../seam.ts"
import type { System } from "../system/env.ts"
import type { DescriptorKind } from "../system/socket.ts"
import * as fdName from "../wire/fdName.ts"
import type { State } from "../wire/handOff.ts"
import * as listenFds from "../wire/listenFds.ts"

const stateName = "activated"

const keyOf = ({ address, kind, network }: FdName): string => JSON.stringify([kind, network, address])

/** A socket that is at no address as far as this process can see is to be asked for by its name. */
const nameOf = (kind: DescriptorKind, name: string, at: Option.Option<Address>): FdName => {
  if (kind === "file") return fdName.file(name)
  if (Option.isNone(at)) return { kind: kind === "packet" ? "packet" : "listener", network: "", address: name }
  const named = address.isPath(at.value) ? at.value : { ...at.value, name }
  return kind === "packet" && !address.isPath(named) ? fdName.packet(named) : fdName.listener(named)
}

/** What a first process has been given. The state is what its successors are told of it. */
export const receive: (
  env: System
) => Effect.Effect<
  { readonly inherited: ReadonlyArray<NamedDescriptor>; readonly state: State },
  ProtocolError
> = Effect.fnUntraced(function*(env) {
  const decoded = listenFds.decode(yield* env.variables, env.pid)
  yield* env.removeVariables(listenFds.variables)
  const activated = new Map<string, NamedDescriptor & { readonly as: string }>()
  for (const { descriptor, name: as } of yield* fromResult(decoded)) {
    const kind = yield* env.kindOf(descriptor)
    if (Option.isNone(kind)) return yield* notOpen(descriptor)
    const name = nameOf(kind.value, as, yield* env.addressOf(descriptor))
    if (activated.has(keyOf(name))) {
      yield* logWarning(
        `LISTEN_FDS names ${as} (${name.address}) twice; the second, descriptor ${descriptor}, is left alone`
      )
    } else {
      activated.set(keyOf(name), { name, descriptor, as })
    }
  }
  const inherited = [...activated.values()]
  return { inherited, state: encode(inherited.map(({ as, name }) => [name, as])) }
})

const notOpen = (descriptor: number) =>
  new ProtocolError({ source: "LISTEN_FDS", detail: `names descriptor ${descriptor}, which is not open` })

export const encode = (activated: ReadonlyArray<readonly [name: FdName, as: string]>): State =>
  activated.length === 0
    ? new Map()
    : new Map([[
      stateName,
      new TextEncoder().encode(JSON.stringify(activated.map(([name, as]) => [keyOf(name), as])))
    ]])

const decode = (state: State): ReadonlyMap<string, string> => {
  const bytes = state.get(stateName)
  if (bytes === undefined) return new Map()
  try {
    const json: unknown = JSON.parse(new TextDecoder().decode(bytes))
    const isPair = (pair: unknown): pair is [string, string] =>
      Array.isArray(pair) && typeof pair[0] === "string" && typeof pair[1] === "string"
    return new Map(Array.isArray(json) ? json.filter(isPair) : [])
  } catch {
    return new Map()
  }
}

export interface Activated {
  /** What the manager calls an inherited descriptor that nobody has taken yet; undefined if it is not the manager's. */
  readonly nameOf: (descriptor: number) => string | undefined
  /** The same, for whoever takes it: its number may be another's when it has been closed. */
  readonly take: (descriptor: number) => string | undefined
}

export const make = (inherited: ReadonlyArray<NamedDescriptor>, state: State): Activated => {
  const names = decode(state)
  const activated = new Map(
    inherited.flatMap(({ descriptor, name }) => {
      const as = names.get(keyOf(name))
      return as === undefined ? [] : [[descriptor, as] as const]
    })
  )
  return {
    nameOf: (descriptor) => activated.get(descriptor),
    take: (descriptor) => {
      const as = activated.get(descriptor)
      activated.delete(descriptor)
      return as
    }
  }
}
