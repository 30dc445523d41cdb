import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { ours } from "../kit/descriptors.ts"
import { deploy, directory, goodVersion } from "../kit/files.ts"
import { fixture, root } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { sameState, stateOf } from "../kit/state.ts"

const app = fixture("app.mjs")

/** Says how it was started, then serves. */
const telling = (name: string): string =>
  `import * as fs from "node:fs"
import { getHeapStatistics } from "node:v8"
const told = { name: ${JSON.stringify(name)}, argv: process.argv, execArgv: process.execArgv, cwd: process.cwd(),
  pwd: process.env.PWD, extra: process.env.EXTRA, secret: process.env.SECRET, preloaded: globalThis.preloaded,
  heap: Math.round(getHeapStatistics().heap_size_limit / 2 ** 20) }
fs.writeSync(1, "TOLD " + JSON.stringify(told) + "\\n")
await import(${JSON.stringify(app)})
`

interface Told {
  readonly name: string
  readonly argv: ReadonlyArray<string>
  readonly execArgv: ReadonlyArray<string>
  readonly cwd: string
  readonly pwd: string
  readonly extra?: string
  readonly secret?: string
  readonly preloaded?: string
  readonly heap: number
}

const told = (handle: Handle): ReadonlyArray<Told> =>
  handle.lines().flatMap((line) => line.startsWith("TOLD ") ? [JSON.parse(line.slice(5)) as Told] : [])

const upgrade = (handle: Handle, generation: number) =>
  Effect.gen(function*() {
    const last = yield* handle.up(generation - 1)
    yield* signal(last.pid, "SIGHUP")
    const next = yield* handle.up(generation)
    yield* handle.waitFor(new RegExp(`^ALONE ${next.pid}`))
    assert.strictEqual((yield* ask(next.port)).pid, next.pid)
    return next
  })

/** Two releases and a link to the first. */
const releases = Effect.gen(function*() {
  const dir = yield* directory
  for (const name of ["1", "2"]) {
    fs.mkdirSync(path.join(dir, "releases", name), { recursive: true })
    yield* deploy(path.join(dir, "releases", name, "main.mjs"), telling(name))
  }
  const current = path.join(dir, "current")
  fs.symlinkSync("releases/1", current)
  return {
    dir,
    current,
    switchTo: (name: string) =>
      Effect.sync(() => {
        fs.symlinkSync(`releases/${name}`, `${current}.new`)
        fs.renameSync(`${current}.new`, current)
      })
  }
})

describe.runIf(isLinux)("starting again", () => {
  it.scopedLive("repeats Node's flags and the arguments", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const program = path.join(dir, "main with spaces.mjs")
      fs.writeFileSync(path.join(dir, "preload.mjs"), `globalThis.preloaded = "yes"`)
      yield* deploy(program, telling("main"))
      const handle = yield* start("./main with spaces.mjs", {
        cwd: dir,
        app: {},
        nodeFlags: ["--max-old-space-size=333", "--import", "./preload.mjs", "--conditions", "production"],
        args: ["a b", "", "--flag=$HOME", "'\"", "-e"]
      })
      yield* upgrade(handle, 2)
      yield* upgrade(handle, 3)
      const [first, second, third] = told(handle)
      assert.deepStrictEqual(second, first)
      assert.deepStrictEqual(third, first)
      assert.strictEqual(first?.preloaded, "yes")
      assert.deepStrictEqual(first?.argv.slice(2), ["a b", "", "--flag=$HOME", "'\"", "-e"])
      assert.include(first?.execArgv ?? [], "--max-old-space-size=333")
    }))

  /** What a program does to its environment, and what it finds there. */
  const changing = `import fs from "node:fs"
    process.loadEnvFile("late.env")
    process.env.GROWS = (process.env.GROWS ?? "") + "x"
    delete process.env.GIVEN
    const { EARLY, LATE, GROWS, REMOVED = "none" } = process.env
    fs.writeSync(1, ["ENV", EARLY, LATE, REMOVED, GROWS].join(" ") + "\\n")
    await import(${JSON.stringify(app)})`

  const changed = (base: string | undefined) =>
    Effect.gen(function*() {
      const dir = yield* directory
      yield* deploy(path.join(dir, "main.mjs"), changing)
      fs.writeFileSync(path.join(dir, "early.env"), "EARLY=1\nREMOVED=secret\n")
      fs.writeFileSync(path.join(dir, "late.env"), "LATE=1\n")
      const handle = yield* start("./main.mjs", {
        cwd: dir,
        app: { upgrader: { baseEnvironment: base } },
        nodeFlags: ["--env-file", "early.env"],
        env: { GIVEN: "1" }
      })
      yield* handle.up(1)
      fs.writeFileSync(path.join(dir, "early.env"), "EARLY=2\n")
      fs.writeFileSync(path.join(dir, "late.env"), "LATE=2\n")
      yield* upgrade(handle, 2)
      yield* upgrade(handle, 3)
      return handle.lines().filter((line) => line.startsWith("ENV "))
    })

  it.scopedLive("has the environment of the start, so that files of variables are read anew and nothing grows", () =>
    Effect.gen(function*() {
      const again = "ENV 2 2 none x"
      assert.deepStrictEqual(yield* changed(undefined), ["ENV 1 1 secret x", again, again])
    }))

  it.scopedLive("has the environment of the older process, if that is asked for", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* changed("current"), [
        "ENV 1 1 secret x",
        "ENV 1 1 secret xx",
        "ENV 1 1 secret xxx"
      ])
    }))

  for (
    const [what, where] of [["through a link", "current/main.mjs"], [
      "through a link, without its extension",
      "run"
    ]] as const
  ) {
    it.scopedLive(`follows a script that was started ${what}`, () =>
      Effect.gen(function*() {
        const { dir, switchTo } = yield* releases
        fs.symlinkSync("current/main.mjs", path.join(dir, "run"))
        const handle = yield* start(where, {
          cwd: dir,
          app: {}
        })
        yield* handle.up(1)
        yield* switchTo("2")
        yield* upgrade(handle, 2)
        assert.deepStrictEqual(told(handle).map(({ name }) => name), ["1", "2"])
      }))
  }

  it.scopedLive("needs nothing more of the release that runs, which may be gone by then", () =>
    Effect.gen(function*() {
      const { dir, switchTo } = yield* releases
      for (const name of ["1", "2"]) {
        const release = path.join(dir, "releases", name)
        for (const part of ["package.json", "dist", "test/fixtures"]) {
          fs.cpSync(path.join(root, part), path.join(release, part), { recursive: true })
        }
        fs.symlinkSync(path.join(root, "node_modules"), path.join(release, "node_modules"))
      }
      const handle = yield* start("current/test/fixtures/app.mjs", { cwd: dir, app: {} })
      yield* handle.up(1)
      yield* switchTo("2")
      fs.rmSync(path.join(dir, "releases/1"), { recursive: true })
      const next = yield* upgrade(handle, 2)
      yield* onlyAlive(handle, [next.pid])
      assert.strictEqual(handle.count(new RegExp(`^LOG .*Process ${next.pid} has taken over as generation 2`)), 1)
    }))

  it.scopedLive("follows a working directory that is a link", () =>
    Effect.gen(function*() {
      const { current, dir, switchTo } = yield* releases
      const handle = yield* start("main.mjs", { cwd: current, app: {} })
      yield* handle.up(1)
      yield* switchTo("2")
      yield* upgrade(handle, 2)
      yield* switchTo("1")
      yield* upgrade(handle, 3)
      assert.deepStrictEqual(told(handle).map(({ name }) => name), ["1", "2", "1"])
      assert.strictEqual(told(handle)[1]?.cwd, path.join(dir, "releases/2"))
      assert.strictEqual(told(handle)[1]?.pwd, current)
    }))

  it.scopedLive("follows a working directory that is a link, and is itself the program", () =>
    Effect.gen(function*() {
      const { current, dir, switchTo } = yield* releases
      for (const name of ["1", "2"]) {
        fs.writeFileSync(path.join(dir, "releases", name, "package.json"), JSON.stringify({ main: "main.mjs" }))
      }
      const handle = yield* start(".", { cwd: current, app: {} })
      yield* handle.up(1)
      yield* switchTo("2")
      yield* upgrade(handle, 2)
      assert.deepStrictEqual(told(handle).map(({ name }) => name), ["1", "2"])
    }))

  it.scopedLive("works for a program that can be debugged", () =>
    Effect.gen(function*() {
      const handle = yield* start(app, { app: {}, nodeFlags: ["--inspect=127.0.0.1:0"] })
      yield* handle.up(1)
      yield* upgrade(handle, 2)
      yield* onlyAlive(handle, [(yield* upgrade(handle, 3)).pid])
    }))

  it.scopedLive("does not believe a PWD that is another directory", () =>
    Effect.gen(function*() {
      const { dir } = yield* releases
      const handle = yield* start("main.mjs", { cwd: path.join(dir, "releases/1"), env: { PWD: dir }, app: {} })
      yield* handle.up(1)
      yield* upgrade(handle, 2)
      assert.deepStrictEqual(told(handle).map(({ cwd }) => cwd), [
        path.join(dir, "releases/1"),
        path.join(dir, "releases/1")
      ])
    }))

  it.scopedLive("does not mind an app that changes its directory", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      yield* deploy(path.join(dir, "main.mjs"), `${telling("main")}\nprocess.chdir("/")\n`)
      const handle = yield* start("main.mjs", { cwd: dir, app: { upgrader: { pidFile: "app.pid" } } })
      yield* handle.up(1)
      yield* Effect.sleep("100 millis")
      const next = yield* upgrade(handle, 2)
      assert.strictEqual(fs.readFileSync(path.join(dir, "app.pid"), "utf8"), `${next.pid}\n`)
      assert.deepStrictEqual(told(handle).map(({ cwd }) => cwd), [dir, dir])
    }))

  it.scopedLive("says so if its working directory is gone, and works when it is back", () =>
    Effect.gen(function*() {
      const { current, dir } = yield* releases
      const handle = yield* start("main.mjs", { cwd: path.join(dir, "releases/1"), app: {} })
      const up = yield* handle.up(1)
      const before = yield* stateOf(handle, up.pid)
      fs.renameSync(path.join(dir, "releases/1"), path.join(dir, "releases/gone"))
      yield* signal(up.pid, "SIGHUP")
      yield* handle.waitFor(
        /UpgradeFailed SpawnError .*the directory to start in, .*releases\/1, cannot be used any more/
      )
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      yield* sameState(handle, up.pid, before)
      fs.renameSync(path.join(dir, "releases/gone"), path.join(dir, "releases/1"))
      yield* onlyAlive(handle, [(yield* upgrade(handle, 2)).pid])
      assert.isTrue(fs.existsSync(current))
    }))

  for (
    const [what, options] of [
      ["node -e", { nodeFlags: ["--input-type=module", "-e", goodVersion()] }],
      ["node --eval=", { nodeFlags: ["--input-type=module", `--eval=${goodVersion()}`] }],
      ["standard input", { nodeFlags: ["--input-type=module"], stdin: goodVersion() }],
      ["standard input as -", { nodeFlags: ["--input-type=module", "-"], stdin: goodVersion() }],
      ["node -p", { nodeFlags: ["-p", `import(${JSON.stringify(app)})`] }],
      ["node -pe", { nodeFlags: ["-pe", `import(${JSON.stringify(app)})`] }],
      ["node --print", { nodeFlags: ["--print", `import(${JSON.stringify(app)})`] }],
      ["node -e with an argument", { nodeFlags: ["-e", `import(${JSON.stringify(app)})`, "argument"] }]
    ] as const
  ) {
    it.scopedLive(`cannot be done for ${what}, where everything else works`, () =>
      Effect.gen(function*() {
        const handle = yield* start(undefined, { app: {}, ...options })
        const up = yield* handle.up(1)
        const before = yield* stateOf(handle, up.pid)
        yield* signal(up.pid, "SIGHUP")
        yield* handle.waitFor(
          /UpgradeFailed SpawnError .*cannot be repeated; start a script file or set the option command/
        )
        assert.strictEqual((yield* ask(up.port)).pid, up.pid)
        yield* onlyAlive(handle, [up.pid])
        yield* sameState(handle, up.pid, before)
        yield* signal(up.pid, "SIGTERM")
        assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      }))
  }

  it.scopedLive("goes where the options command and environment say", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const program = path.join(dir, "other.mjs")
      yield* deploy(program, telling("other"))
      const handle = yield* start(undefined, {
        nodeFlags: ["-e", `import(${JSON.stringify(app)})`],
        env: { SECRET: "secret", EXTRA: "old" },
        app: {
          upgrader: {
            command: { args: ["--no-warnings", program, "x"], directory: dir },
            environment: { EXTRA: "new", SECRET: null }
          }
        }
      })
      yield* handle.up(1)
      yield* upgrade(handle, 2)
      yield* upgrade(handle, 3)
      for (const one of told(handle)) {
        assert.deepStrictEqual([one.cwd, one.pwd, one.argv[2], one.extra, one.secret], [
          dir,
          dir,
          "x",
          "new",
          undefined
        ])
        assert.deepStrictEqual(one.execArgv, ["--no-warnings"])
      }
      assert.strictEqual(told(handle).length, 2)
    }))

  it.scopedLive("follows a Node that was started through a link, but no wrapper that only has its name", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const node = path.join(dir, "node")
      fs.symlinkSync(process.execPath, node)
      yield* deploy(path.join(dir, "main.mjs"), telling("main"))
      const linked = yield* start("main.mjs", { executable: node, cwd: dir, app: {} })
      yield* linked.up(1)
      fs.unlinkSync(node)
      fs.writeFileSync(node, `#!/bin/sh\nexport EXTRA=wrapped\nexec ${process.execPath} "$@"\n`, { mode: 0o755 })
      yield* upgrade(linked, 2)
      assert.strictEqual(told(linked)[1]?.extra, "wrapped")

      // exec -a "$0" node main.mjs: the name leads to the script that started Node, which would start it twice over.
      const wrapper = path.join(dir, "wrapper")
      fs.writeFileSync(wrapper, `#!/bin/sh\nexit 7\n`, { mode: 0o755 })
      const wrapped = yield* start("main.mjs", { argv0: wrapper, cwd: dir, app: {} })
      yield* wrapped.up(1)
      yield* upgrade(wrapped, 2)
    }))
})

describe.runIf(isLinux)("programs that the app starts", () => {
  it.scopedLive("inherit nothing of ours, in any generation", () =>
    Effect.gen(function*() {
      const host = "127.0.0.1"
      const listen = Array.from({ length: 40 }, (_, index) => ({ host, port: 0, name: String(index) }))
      const handle = yield* start(app, { app: { listen, upgrader: { maxDraining: 3 } } })
      let up = yield* handle.up(1)
      const slow = yield* Effect.fork(ask(up.port, { path: "/?slow=4000" }))
      yield* handle.waitFor(/^SERVING/)
      for (const generation of [2, 3]) {
        yield* signal(up.pid, "SIGHUP")
        up = yield* handle.up(generation)
        const { body } = yield* ask(up.port, { path: "/grandchild" })
        assert.deepStrictEqual(ours(body), [])
      }
      yield* slow.await
    }))
})
