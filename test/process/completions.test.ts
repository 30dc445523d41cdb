import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { bin } from "../kit/paths.ts"
import { ended } from "../kit/run.ts"

const isThere = (shell: string) => spawnSync(shell, ["-c", ":"]).status === 0

/** What a shell prints, in a directory with two files, where `tableflip` is in the path. */
const printed = (shell: string, script: string) =>
  Effect.gen(function*() {
    const dir = yield* directory
    fs.mkdirSync(path.join(dir, "bin"))
    fs.writeFileSync(
      path.join(dir, "bin", "tableflip"),
      `#!/bin/sh\nexec '${process.execPath}' -- '${bin}' "$@"\n`,
      { mode: 0o755 }
    )
    fs.mkdirSync(path.join(dir, "a dir"))
    fs.writeFileSync(path.join(dir, "a file"), "")
    const { error, stderr, stdout } = yield* ended(dir, shell, ["-c", script], {
      PATH: `${path.join(dir, "bin")}:${process.env["PATH"]}`,
      HOME: dir
    })
    assert.deepStrictEqual([error, stderr], [undefined, ""], stdout)
    return stdout
  })

/** The line that is typed, and some of what is offered for its last word. */
const offers: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>]> = [
  [["r"], ["reload", "replace", "run"]],
  [["reload", "--wait", ""], ["drained", "ended", "switched"]],
  [["run", "--war"], ["--warmup"]],
  [["run", "--restart", ""], ["always", "never", "on-failure"]],
  [["run", "--stop-signal", "QU"], ["QUIT"]],
  [["completions", "b"], ["bash"]],
  [["run", "--listen", "80", "--", "basenam"], ["basename"]],
  [["run", "--", "cat", "a f"], ["a file"]]
]

describe.runIf(isThere("bash"))("in bash", () => {
  it.scopedLive("words are completed", () =>
    Effect.gen(function*() {
      const lines = offers.map(([words]) =>
        `COMP_WORDS=(tableflip ${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length}
         _tableflip; printf '%s\\n' "\${COMPREPLY[@]}" | sort -u; echo .`
      )
      const text = yield* printed("bash", `source <(tableflip completions bash)\n${lines.join("\n")}`)
      assert.deepStrictEqual(
        text.split("\n.\n").slice(0, -1).map((part) => part.split("\n")),
        offers.map(([, found]) => [
          ...found
        ])
      )
      assert.strictEqual(
        yield* printed(
          "bash",
          `source <(tableflip completions bash); COMP_WORDS=(tableflip run --cwd a); COMP_CWORD=3; _tableflip
           printf '%s\\n' "\${COMPREPLY[@]}"`
        ),
        "a dir\n"
      )
    }))
})

describe.runIf(isThere("fish"))("in fish", () => {
  it.scopedLive("words are completed", () =>
    Effect.gen(function*() {
      const lines = offers.map(([words]) =>
        `complete -C '${
          ["tableflip", ...words].join(" ").replaceAll("a f", "a\\\\ f")
        }' | string replace -r '\\t.*' ''; echo .`
      )
      const text = yield* printed("fish", `tableflip completions fish | source\n${lines.join("\n")}`)
      assert.deepStrictEqual(
        text.split("\n.\n").slice(0, -1).map((part) => part.split("\n")),
        offers.map(([, found]) => [...found])
      )
    }))
})

describe.runIf(isThere("zsh"))("in zsh", () => {
  it.scopedLive("the functions of its completion system are told what there is", () =>
    Effect.gen(function*() {
      const text = yield* printed(
        "zsh",
        `compdef() { :; }; _describe() { print -rl -- \${(P)2}; }; _arguments() { print -rl -- "$@"; }
         _normal() { print -r -- "$words $CURRENT"; }
         source <(tableflip completions zsh)
         words=(tableflip ''); CURRENT=2; _tableflip
         words=(tableflip run ''); CURRENT=3; _tableflip
         words=(tableflip run --listen 80 -- cat a); CURRENT=7; _tableflip
         words=(tableflip completions ''); CURRENT=3; _tableflip`
      )
      const lines = text.trim().split("\n")
      for (
        const line of [
          "run:Run a command under one process id; SIGHUP reloads it",
          "--cwd[Where to start it, looked up at each start]:DIRECTORY:_files -/",
          "--restart[always, on-failure or never \\[on-failure\\]]:WHEN:(always on-failure never)",
          "*-v[Say more; -vv says everything]",
          "cat a 2",
          "1:bash|zsh|fish:(bash zsh fish)"
        ]
      ) {
        assert.include(lines, line)
      }
    }))
})
