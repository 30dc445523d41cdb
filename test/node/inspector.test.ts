import { assert, it } from "@effect/vitest"
import { withOwnInspector } from "../../src/internal/node/inspector.ts"

const command = (execArgv: ReadonlyArray<string>) => ({
  executable: "node",
  directory: "/",
  args: [...execArgv, "app.js", "--inspect-port=of the app"]
})

const starts = (execArgv: ReadonlyArray<string>, options = "", port = 9229, count = 2) => {
  const next = withOwnInspector({ execArgv, options, port })
  return Array.from({ length: count }, () => next(command(execArgv)).args.join(" "))
}

it("a process without an inspector starts others as it was started", () => {
  for (const execArgv of [[], ["--import", "tsx"], ["--inspect-port=9300"]]) {
    assert.deepStrictEqual(starts(execArgv, "--max-old-space-size=100", 9229, 1), [command(execArgv).args.join(" ")])
  }
})

it("each process has the next port, and no flag is added twice", () => {
  const rest = "app.js --inspect-port=of the app"
  assert.deepStrictEqual(starts(["--inspect"]), [
    `--inspect --inspect-port=9230 ${rest}`,
    `--inspect --inspect-port=9231 ${rest}`
  ])
  assert.deepStrictEqual(starts(["--inspect-brk=0.0.0.0:9229", "--inspect-port=9230"], "", 9230), [
    `--inspect-brk=0.0.0.0:9229 --inspect-port=9231 ${rest}`,
    `--inspect-brk=0.0.0.0:9229 --inspect-port=9232 ${rest}`
  ])
  assert.deepStrictEqual(starts([], "--trace-warnings --inspect=9229", 65_535), [
    `--inspect-port=1024 ${rest}`,
    `--inspect-port=1025 ${rest}`
  ])
})

it("port 0 is for the system to choose", () => {
  for (const flag of ["--inspect=0", "--inspect-brk=127.0.0.1:0"]) {
    assert.deepStrictEqual(starts([flag], "", 9229, 1), [command([flag]).args.join(" ")])
    assert.deepStrictEqual(starts([], flag, 9229, 1), [command([]).args.join(" ")])
  }
  assert.deepStrictEqual(starts(["--inspect", "--inspect-port=0"], "", 40_000, 1), [
    command(["--inspect", "--inspect-port=0"]).args.join(" ")
  ])
})
