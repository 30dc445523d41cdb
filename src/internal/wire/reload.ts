/**
 * What a command and its supervisor tell each other of a reload that the command has asked for, on the control stream.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import { parse } from "./control.ts"

/** What the command says. */
export type Request = Data.TaggedEnum<{
  /** It wants to be reloaded. */
  Reload: {}
  /** It has heard that it was, and finishes. */
  Leaving: {}
}>
export const Request = Data.taggedEnum<Request>()

export const decodeRequest = (line: string): Option.Option<Request> => {
  switch (parse(line)["_tag"]) {
    case "Reload":
      return Option.some(Request.Reload())
    case "Leaving":
      return Option.some(Request.Leaving())
    default:
      return Option.none()
  }
}

/** What the supervisor says. */
export type Reply = Data.TaggedEnum<{
  /** It is going on. A supervisor of an older release does not say so. */
  Reloading: {}
  /** A newer process has taken the place of the one that has asked, which finishes. */
  Reloaded: { readonly pid: number; readonly generation: number }
  /** It has failed, and whoever has asked serves on. */
  NotReloaded: { readonly detail: string }
}>
export const Reply = Data.taggedEnum<Reply>()

export const decodeReply = (line: string): Option.Option<Reply> => {
  const { _tag, detail, generation, pid } = parse(line)
  switch (_tag) {
    case "Reloading":
      return Option.some(Reply.Reloading())
    case "Reloaded":
      return typeof pid === "number" && typeof generation === "number"
        ? Option.some(Reply.Reloaded({ pid, generation }))
        : Option.none()
    case "NotReloaded":
      return Option.some(Reply.NotReloaded({ detail: String(detail) }))
    default:
      return Option.none()
  }
}
