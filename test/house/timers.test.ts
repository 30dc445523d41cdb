/** A timer of Node that is asked for more than it can count fires at once, so each is asked for what can be read off here. */
import { assert, describe, it } from "@effect/vitest"
import type { Module } from "../kit/modules.ts"
import { modulesIn } from "../kit/modules.ts"

const begin = /(?<![\w$])(?:setTimeout|setInterval|sleep)(?:\?\.)?\(/g

/** What is between this parenthesis and its end, at the commas. */
const argumentsAt = (text: string, from: number): ReadonlyArray<string> => {
  const all = [""]
  for (let index = from, depth = 0;; index++) {
    const char = text[index]!
    if (")]}".includes(char) && depth-- === 0) return all.map((one) => one.trim())
    if ("([{".includes(char)) depth++
    if (char === "," && depth === 0) all.push("")
    else all[all.length - 1] += char
  }
}

interface Site {
  readonly file: string
  readonly delay: string
  readonly isBounded: boolean
}

const isBounded = ({ text }: Module, delay: string) =>
  /^[\d_]+$/.test(delay) || delay.includes("longestTimer") ||
  new RegExp(`^const ${delay} = ([\\d_]+$|.*longestTimer)|^  const ${delay} = .*longestTimer`, "m").test(text)

const sitesOf = (module: Module): ReadonlyArray<Site> => {
  const sleeps = module.text.includes(`setTimeout as sleep`)
  return [...module.text.matchAll(begin)].flatMap(({ 0: call, index }) => {
    const isSleep = call.startsWith("sleep")
    const before = module.text.slice(0, index)
    if ((isSleep && !sleeps) || before.endsWith("Effect.")) return []
    const given = argumentsAt(module.text, index + call.length)
    // A socket takes the time first, and so does the promise.
    const delay = (isSleep || before.endsWith("socket.") ? given[0] : given[1]) ?? "1"
    return [{ file: module.file, delay, isBounded: isBounded(module, delay) }]
  })
}

describe("the timers of src", () => {
  it("are asked for a number that is written there, or at most for the longest that there is", () => {
    const sites = modulesIn("src").flatMap(sitesOf)
    assert.isAbove(sites.length, 15)
    assert.deepStrictEqual(sites.filter(({ isBounded }) => !isBounded), [])
  })
})
