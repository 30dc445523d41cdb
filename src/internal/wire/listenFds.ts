/**
 * Sockets by the protocol of systemd (sd_listen_fds(3)), as one that is given them and as one that gives them.
 *
 * @internal
 */
import * as Either from "effect/Either"
import type { Address, FdName } from "../../Address.ts"
import { isPath } from "../../Address.ts"
import { ProtocolError } from "../../TableflipError.ts"
import * as fdName from "./fdName.ts"
import { firstNumber } from "./layout.ts"

/** What the environment says that is meant for one process only, and must not reach its children. */
export const variables = ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"]

export interface ActivatedSocket {
  readonly descriptor: number
  readonly name: string
}

/** More than any system lets a process have. */
const mostSockets = 1_048_576

/** What it says where nobody has given a socket a name. */
export const unnamed = "unknown"

/** Whether what the environment says is for this process, and not for one that has started it. */
export const isMeantFor = ({ LISTEN_PID }: Readonly<Record<string, string | undefined>>, pid: number): boolean =>
  LISTEN_PID === String(pid)

/** The sockets that are meant for this process: none if they are meant for another. */
export const decode = (
  environment: Readonly<Record<string, string | undefined>>,
  pid: number
): Either.Either<ReadonlyArray<ActivatedSocket>, ProtocolError> => {
  const { LISTEN_FDNAMES, LISTEN_FDS } = environment
  if (LISTEN_FDS === undefined || !isMeantFor(environment, pid)) return Either.right([])
  const count = /^\d{1,7}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : -1
  if (count < 0 || count > mostSockets) {
    return Either.left(
      new ProtocolError({ source: "LISTEN_FDS", detail: `is ${JSON.stringify(LISTEN_FDS)}; it must be a number` })
    )
  }
  const names = LISTEN_FDNAMES === undefined || LISTEN_FDNAMES === "" ? [] : LISTEN_FDNAMES.split(":")
  if (names.length > 0 && names.length !== count) {
    return Either.left(
      new ProtocolError({ source: "LISTEN_FDNAMES", detail: `has ${names.length} name(s) for ${count} socket(s)` })
    )
  }
  return Either.right(
    Array.from({ length: count }, (_, index) => ({ descriptor: firstNumber + index, name: names[index] ?? unnamed }))
  )
}

/** Everything but `LISTEN_PID`, which is known only once the process is there. */
export const encode = (names: ReadonlyArray<string>): Record<string, string | undefined> => ({
  LISTEN_PID: undefined,
  LISTEN_PIDFDID: undefined,
  LISTEN_FDS: names.length === 0 ? undefined : String(names.length),
  LISTEN_FDNAMES: names.length === 0 ? undefined : names.join(":")
})

const everywhere = ["", "::", "0.0.0.0"]

const withoutName = (address: Address): Address => {
  if (isPath(address)) return address
  const { name: _, ...rest } = address
  return rest
}

/**
 * What a program on this library may call a socket when it asks for it: by its name or without, and every address of the
 * machine in any of the usual ways.
 */
export const aliases = (address: Address): ReadonlyArray<FdName> => {
  const plain = withoutName(address)
  const same = isPath(plain) || !everywhere.includes(plain.host ?? "")
    ? [plain]
    : [undefined, ...everywhere.slice(1)].map((host) => ({ port: plain.port, host }))
  const all = [address, plain, ...same].map(fdName.listener)
  return all.filter((one, index) => all.findIndex(({ address }) => address === one.address) === index)
}
