/**
 * What a process is to whoever has started it, and what follows from that for its upgrader.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { UpgraderEvent } from "../../UpgraderEvent.ts"
import type { Settings } from "./options.ts"

export interface Role {
  /** Why this process does not start its successor, if it does not. */
  readonly refusal: Option.Option<string>
  /** Whether it is for this process to say so when it is ready: nobody else is there who upgrades it. */
  readonly tellsRefusal: boolean
  /** Why no state can go along from and to this process, if it cannot. */
  readonly stateRefusal: Option.Option<string>
  /** What holds of what the app has asked for. */
  readonly settle: (asked: Settings) => Settings
  /** After which event this process has nothing more to do but to drain, and must not live on. */
  readonly isFinal: (event: UpgraderEvent) => boolean
}

const isUpgraded = ({ _tag }: UpgraderEvent): boolean => _tag === "Upgraded"

/** It does not start its successor itself. */
const leaveToAnother = (asked: Settings): Settings => ({ ...asked, signals: [], maxDraining: Infinity })

/** A process that stands for itself. `fatal` is what would take its successor along when it ends. */
export const alone = (fatal: Option.Option<string>): Role => ({
  refusal: Option.map(fatal, (reason) => `${reason}; ${runInstead}`),
  tellsRefusal: true,
  stateRefusal: Option.none(),
  settle: (asked) => asked,
  isFinal: isUpgraded
})

const runInstead = "start the program by `tableflip run -- COMMAND`, which stays and starts the new one"

export const underTableflip = "this process runs under tableflip, which starts the new one; reload that"

export const supervised: Role = {
  refusal: Option.some(underTableflip),
  tellsRefusal: false,
  stateRefusal: Option.none(),
  settle: leaveToAnother,
  isFinal: isUpgraded
}

export const worker: Role = {
  refusal: Option.some("this is a process of a pool, whose primary is upgraded"),
  tellsRefusal: false,
  stateRefusal: Option.some(
    "this is a process of a pool, and state goes along with an upgrade of its primary; give and take it in `main`"
  ),
  settle: (asked) => ({ ...leaveToAnother(asked), pidFile: undefined }),
  isFinal: ({ _tag }) => _tag === "Upgraded" || _tag === "Stopped"
}

/** In the process of a test, which is not over when the upgrader is. */
export const stub: Role = {
  refusal: Option.some("this is the stub"),
  tellsRefusal: false,
  stateRefusal: Option.none(),
  settle: (asked) => asked,
  isFinal: () => false
}
