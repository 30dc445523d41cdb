import { assert, describe, it } from "@effect/vitest"
import * as FC from "effect/FastCheck"
import * as fs from "node:fs"
import * as path from "node:path"
import * as flag from "../../src/internal/cli/flag.ts"
import * as help from "../../src/internal/cli/help.ts"
import { parse } from "../../src/internal/cli/parse.ts"
import { flags } from "../../src/internal/cli/runFlags.ts"
import { typedFor } from "../../src/internal/cli/runOptions.ts"
import * as subcommand from "../../src/internal/cli/subcommand.ts"
import { subcommands } from "../../src/internal/cli/subcommands.ts"
import { nearest } from "../../src/internal/cli/suggest.ts"
import { textOf } from "../kit/pages.ts"
import { root } from "../kit/paths.ts"
import { property } from "../kit/property.ts"

const table = {
  port: flag.values(flag.wholeNumber(1), "", { short: "p" }),
  wait: flag.value(flag.seconds, "", { short: "w", aliases: ["wait-time"] }),
  loud: flag.count("", { short: "l" })
}

describe("flags", () => {
  it("are read in all their spellings, up to the dashes", () => {
    const { command, operands, typed, values } = parse(
      ["-p1", "x", "--port=2", "-llp", "3", "--wait-time", ".5", "--loud", "--", "-p", "--", "z"],
      table
    )
    assert.deepStrictEqual(values, { port: [1, 2, 3], wait: 500, loud: 3 })
    assert.deepStrictEqual([operands, command], [["x"], ["-p", "--", "z"]])
    assert.deepStrictEqual([typed("wait"), typed("port"), typed("loud")], ["--wait-time", "-p", "--loud"])
    assert.deepStrictEqual(parse([], table).values, { port: [], wait: undefined, loud: 0 })
    assert.isUndefined(parse([], table).command)
    assert.deepStrictEqual(parse(["--"], table).command, [])
  })

  it.each(
    [
      [["--prot", "1"], "there is no option --prot; did you mean --port?"],
      [["-x"], "there is no option -x"],
      [["--zzzzzzz=1"], "there is no option --zzzzzzz"],
      [["--__proto__"], "there is no option --__proto__"],
      [["--constructor=1"], "there is no option --constructor"],
      [["-port", "1"], `-p is "ort"; it must be a whole number from 1`],
      [["--port", "1e3"], `--port is "1e3"; it must be a whole number from 1`],
      [["--port"], "--port lacks its value, N"],
      [["--port="], `--port is ""; it must be a whole number from 1`],
      [["-w", "--loud"], "-w lacks its value, SECONDS"],
      [["--wait", "Infinity"], `--wait is "Infinity"; it must be a number of seconds from 0`],
      [["--wait=1", "-w", "2"], "-w is given more than once"],
      [["--loud=1"], "--loud takes no value"]
    ] as ReadonlyArray<[ReadonlyArray<string>, string]>
  )("are refused by the name that was typed: %j", (args, message) => {
    assert.throws(() => parse(args, table), flag.UsageError, message)
    try {
      parse(args, table)
    } catch (error) {
      assert.strictEqual((error as Error).message, message)
    }
  })

  property("are read or refused, whatever they are", [FC.array(FC.string(), { maxLength: 6 })], ([args]) => {
    try {
      parse(args.map((arg) => arg.startsWith("-") ? arg : `--${arg}`), flags)
    } catch (error) {
      assert.instanceOf(error, flag.UsageError)
    }
  })

  it("have values of their kind only", () => {
    assert.strictEqual(flag.signal.parse("SIGQUIT"), "SIGQUIT")
    assert.strictEqual(flag.signal.parse("quit"), "SIGQUIT")
    assert.strictEqual(flag.signal.parse("15"), "SIGTERM")
    for (const text of ["", "NOPE", "0", "toString"]) assert.isUndefined(flag.signal.parse(text))
    assert.deepStrictEqual(flag.restarts.parse("5/1.5"), { count: 5, within: 1_500 })
    for (const text of ["", "5", "5/", "0/1", "5/0", "1/2/3", "-1/2"]) assert.isUndefined(flag.restarts.parse(text))
    assert.strictEqual(flag.mode.parse("0660"), 0o660)
    for (const text of ["", "66", "888", "rw"]) assert.isUndefined(flag.mode.parse(text))
  })
})

describe("a word that is not known", () => {
  it.each([
    ["--lisen", ["--listen"]],
    ["--pid", ["--pid-file"]],
    ["--warmpu", ["--warmup"]],
    ["--resart", ["--restart"]],
    ["--nothing-like-it", []],
    ["--", []]
  ])("%s may have been meant for another", (typed, expected) => {
    assert.deepStrictEqual(nearest(typed, Object.keys(flags).map((name) => `--${name}`)), expected)
  })
})

describe("help", () => {
  it("is a screen", () => {
    for (const text of [help.ofAll(subcommands), ...subcommands.map(help.of)]) {
      const lines = text.split("\n")
      assert.isAtMost(lines.length, 50)
      for (const line of lines) assert.isAtMost(line.length, 80, line)
    }
  })

  it("has every flag that is understood, and no other", () => {
    for (const each of subcommands) {
      const text = help.of(each)
      for (const name of Object.keys(subcommand.flagsOf(each))) assert.include(text, ` --${name}`)
    }
    assert.sameMembers(Object.keys(subcommand.flagsOf(subcommands[0]!)), Object.keys(flags))
  })

  it("is on the page of the command, flag by flag", () => {
    const text = textOf("docs/supervisor.md")
    assert.deepStrictEqual(Object.keys(flags).filter((name) => !text.includes(`--${name}`)), [])
  })
})

describe("an option of the supervisor that cannot work", () => {
  it("is told by what was typed for it, every one", () => {
    const text = fs.readFileSync(path.join(root, "src/internal/supervisor/options.ts"), "utf8")
    const options = Array.from(
      text.matchAll(/\b(?:invalid|decodeDuration|decodeCount|decodeAtOnce)\(\s*"([^"]+)"/g),
      ([, option = ""]) => option
    )
    assert.isAbove(options.length, 10)
    const run = parse(["--ready-fd", "3", "--", "x"], { ...flags, ...subcommand.common })
    for (const option of options) assert.isDefined(typedFor(option, run), option)
    assert.strictEqual(typedFor("restart.maxDelay", run), "--max-restart-delay")
    assert.strictEqual(typedFor("ready.when", run), "--ready-fd")
  })
})
