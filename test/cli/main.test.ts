import { assert, describe, it } from "@effect/vitest"
import { beforeEach, vi } from "vitest"
import { main } from "../../src/internal/cli/main.ts"

const written = vi.hoisted(() => ({ 1: [] as Array<string>, 2: [] as Array<string> }))

vi.mock(import("../../src/internal/node/writer.ts"), async (original) => ({
  ...await original(),
  to: (descriptor: 1 | 2) => ({
    write: async (bytes: Uint8Array) => void written[descriptor].push(Buffer.from(bytes).toString()),
    line: (text: string) => void written[descriptor].push(text),
    writtenAt: () => 0,
    isBusy: () => false
  })
}))

const endedBy: Array<NodeJS.Signals> = []

const tableflip = (...args: ReadonlyArray<string>) =>
  main(args, { onRunning: () => {}, endBy: (signal) => void endedBy.push(signal) })

describe.sequential("tableflip", () => {
  beforeEach(() => {
    written[1].length = 0
    written[2].length = 0
    endedBy.length = 0
  })

  it.each([[[]], [["help"]], [["--help"]], [["-h"]]])("shows what there is for %j", async (args) => {
    assert.strictEqual(await tableflip(...args), 0)
    assert.match(written[1].join(), /\brun\b[^]*\bcompletions\b/)
  })

  it.each([[["help", "run"]], [["run", "--help"]], [["run", "--nonsense", "-h"]]])(
    "shows the help of a command for %j",
    async (args) => {
      assert.strictEqual(await tableflip(...args), 0)
      assert.include(written[1].join(), "--ready-timeout")
    }
  )

  it.each([[["--version"]], [["run", "--version"]]])("tells its version for %j", async (args) => {
    assert.strictEqual(await tableflip(...args), 0)
    assert.match(written[1].join(), /^\d+\.\d+\.\d+/)
  })

  it.each<[ReadonlyArray<string>, string]>([
    [["rnu"], `tableflip: there is no command "rnu"; did you mean run? See tableflip --help`],
    [[""], "tableflip: an argument is empty. See tableflip --help"],
    [["help", "nothing"], `tableflip: there is no command "nothing". See tableflip --help`],
    [
      ["--listen", "80"],
      "tableflip: --listen comes after a command, as in tableflip run --listen. See tableflip --help"
    ],
    [["run", "--", ""], "tableflip: the command after -- is empty. See tableflip run --help"],
    [["run", "--"], "tableflip: the command is missing: nothing follows --. See tableflip run --help"],
    [
      ["run", "app.js", "--", "node"],
      `tableflip: "app.js" is no option; the command comes after --. See tableflip run --help`
    ],
    [
      ["run", "--ready-fd", "3", "--ready-wire", "--", "x"],
      "tableflip: --ready-fd and --ready-wire exclude each other: only one of them can be given. See tableflip run --help"
    ],
    [
      ["run", "--ready-interval", "1", "--", "x"],
      "tableflip: --ready-interval goes with --ready-http or --ready-tcp. See tableflip run --help"
    ],
    [
      ["run", "-w", "5", "--ready-timeout", "5", "--", "x"],
      "tableflip: -w must be shorter than --ready-timeout, which is 5. See tableflip run --help"
    ],
    [["run", "--mode", "600", "--", "x"], "tableflip: --mode goes with --listen unix:…. See tableflip run --help"],
    [
      ["run", "--leave-running", "-k", "--", "x"],
      "tableflip: --leave-running and -k contradict each other. See tableflip run --help"
    ],
    [
      ["run", "--leave-running", "--stop-first", "--", "x"],
      "tableflip: --leave-running and --stop-first exclude each other: in a reload there may be nobody to leave. See tableflip run --help"
    ],
    [
      ["completions", "bash", "--", "x"],
      "tableflip: tableflip completions takes no command after --. See tableflip completions --help"
    ]
  ])("says what is wrong with %j, and ends with 2", async (args, message) => {
    assert.strictEqual(await tableflip(...args), 2)
    assert.deepStrictEqual(written[2], [message])
    assert.deepStrictEqual(written[1], [])
  })

  it.each(["bash", "zsh", "fish"])("has completions for %s, with every option", async (shell) => {
    assert.strictEqual(await tableflip("completions", shell), 0)
    const script = written[1].join()
    for (const name of ["ready-timeout", "replace-at-once", "max-restart-delay"]) assert.include(script, name)
  })

  it("ends as a shell does where the program is not there, and says which", async () => {
    assert.strictEqual(await tableflip("run", "--", "no-such-program-at-all"), 127)
    assert.match(written[2].join("\n"), /ERROR +tableflip: .*no-such-program-at-all/)
  })

  it("ends with the code of a command that did not come up", async () => {
    assert.strictEqual(await tableflip("run", "--", "sh", "-c", "exit 3"), 3)
    assert.match(written[2].join("\n"), /generation 1: process \d+ has been started/)
  })

  it("fails if the command is done before it was ready, and says what that may be", async () => {
    assert.strictEqual(await tableflip("run", "--", "sh", "-c", "exit 0"), 1)
    assert.match(
      written[2].join("\n"),
      /ERROR +tableflip: .*exited with code 0.*does it put itself in the background\?/
    )
  })

  it("says nothing but what went wrong when that is asked for, in JSON too", async () => {
    assert.strictEqual(await tableflip("run", "--quiet", "--log-format", "json", "--", "sh", "-c", "exit 3"), 3)
    const lines = written[2].map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.isNotEmpty(lines)
    for (const { level } of lines) assert.include(["ERROR", "FATAL", "error", "fatal"], level)
  })

  it("names what was typed where the supervisor refuses it", async () => {
    assert.strictEqual(await tableflip("run", "--pid-file", "/nowhere/at/all.pid", "--", "true"), 73)
    assert.strictEqual(await tableflip("run", "--ready-timeout", "0", "--", "true"), 2)
    assert.match(written[2].at(-1)!, /--ready-timeout/)
  })
})
