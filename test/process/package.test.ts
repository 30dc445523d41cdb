/**
 * What npm would publish, as a user has it: packed, and put into a directory that knows nothing of this one.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { isEffect4 } from "../kit/effect.ts"
import { directory, pidIn } from "../kit/files.ts"
import { blocksOf, pages, textOf } from "../kit/pages.ts"
import { root } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isAlive } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"
import { ended, run } from "../kit/run.ts"
import { ready, server } from "../kit/tableflip.ts"
import { eventually, until } from "../kit/waiting.ts"

const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))

const pack = (into: string): Effect.Effect<string> =>
  Effect.map(
    run(root, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", into),
    (name) => path.join(into, name.trim())
  )

/** A directory with the packed package, and beside it what it says it needs, and Node's types. */
const installed = Effect.gen(function*() {
  const dir = yield* directory
  const modules = path.join(dir, "node_modules")
  fs.mkdirSync(modules)
  yield* run(dir, "tar", "xzf", yield* pack(dir))
  fs.renameSync(path.join(dir, "package"), path.join(modules, manifest.name))
  for (const name of [...Object.keys(manifest.peerDependencies), "@types/node"]) {
    fs.mkdirSync(path.dirname(path.join(modules, name)), { recursive: true })
    fs.symlinkSync(path.join(root, "node_modules", name), path.join(modules, name))
  }
  fs.writeFileSync(path.join(dir, "package.json"), JSON.stringify({ type: "module" }))
  return dir
})

/** The modules that can be imported, without the package's name. */
const entries = fs.readdirSync(path.join(root, "src")).filter((name) => name.endsWith(".ts") && name !== "bin.ts")
  .map((name) => name.slice(0, -".ts".length))

/** What a declaration file exports, by name. */
const exportsOf = (text: string): ReadonlyArray<string> => [
  ...Array.from(
    text.matchAll(/^export (?:declare )?(?:const|function|class|interface|type) (\w+)/gm),
    ([, name]) => name!
  ),
  ...Array.from(text.matchAll(/^export \* as (\w+) from/gm), ([, name]) => name!),
  ...Array.from(
    text.matchAll(/^export (?:type )?\{([^}]*)\}/gm),
    ([, list]) =>
      list!.replaceAll(/\/\*\*[^]*?\*\//g, "").split(",").map((each) => each.trim().split(" as ").at(-1)!).filter((
        name
      ) => name !== "")
  ).flat()
]

/** An app that names every export of every module, and one that uses some of them. */
const consumer = Effect.map(installed, (dir) => {
  fs.copyFileSync(path.join(root, "test/consumer/app.ts"), path.join(dir, "app.ts"))
  const lines = entries.map((entry) => {
    const text = fs.readFileSync(path.join(dir, `node_modules/${manifest.name}/dist/${entry}.d.ts`), "utf8")
    const names = [...new Set(exportsOf(text))]
    assert.isNotEmpty(names, entry)
    const from = entry === "index" ? manifest.name : `${manifest.name}/${entry}`
    return `export { ${names.map((name) => `${name} as ${entry}_${name}`).join(", ")} } from "${from}"`
  })
  fs.writeFileSync(path.join(dir, "everything.ts"), lines.join("\n"))
  return dir
})

const resolutions = {
  NodeNext: { module: "NodeNext", moduleResolution: "NodeNext" },
  Bundler: { module: "ESNext", moduleResolution: "Bundler" }
}

const isRegistryReachable = spawnSync("npm", ["ping"], { timeout: 20_000 }).status === 0

/** For what needs the registry of npm; without it, this is shown as skipped. */
const online = it.scopedLive.skipIf(!isRegistryReachable)

/** The oldest that Effect supports. It is no dependency of this package: its `tsc` would take the place of the newest. */
const oldest = Effect.gen(function*() {
  const dir = path.join(root, "build", "typescript-oldest")
  const file = path.join(dir, "node_modules/typescript/bin/tsc")
  if (!fs.existsSync(file)) {
    fs.mkdirSync(dir, { recursive: true })
    yield* run(dir, "npm", "install", "--silent", "--prefix", dir, "typescript@~5.4.5")
  }
  return file
})

const newest = Effect.succeed(path.join(root, "node_modules/typescript/bin/tsc"))

describe("the types of the package", () => {
  for (const [age, test, compiler] of [["newest", it.scopedLive, newest], ["oldest", online, oldest]] as const) {
    for (const [name, options] of Object.entries(resolutions)) {
      test(`are whole, and say what is wrong, in the ${age} TypeScript with ${name}`, () =>
        Effect.gen(function*() {
          const dir = yield* consumer
          const compilerOptions = {
            ...options,
            target: "ES2022",
            types: ["node"],
            strict: true,
            exactOptionalPropertyTypes: true,
            skipLibCheck: false,
            noEmit: true
          }
          fs.writeFileSync(
            path.join(dir, "tsconfig.json"),
            JSON.stringify({ compilerOptions, files: ["app.ts", "everything.ts"] })
          )
          const { stdout } = yield* ended(dir, process.execPath, [yield* compiler, "-p", dir, "--pretty", "false"])
          // Declarations of Effect want a newer compiler than those of this package do.
          const elsewhere = new RegExp(`^${path.relative(dir, path.join(root, "node_modules"))}/.*\\n(?: .*\\n)*`, "gm")
          assert.strictEqual(stdout.replaceAll(elsewhere, ""), "")
        }))
    }
  }
})

const installs = pages.flatMap(blocksOf).filter(({ code }) => /npm install .*effect-tableflip/.test(code))

/** Whether a line installs the package for this Effect. */
const isForThis = (line: string) => line.includes("@effect3") !== isEffect4

describe("the lines that install the package", () => {
  it("pin nothing but the tag", () => {
    const lines = installs.flatMap(({ code }) => code.match(/^.*npm install .*effect-tableflip.*$/gm) ?? [])
    assert.isAtLeast(lines.length, 3)
    for (const line of lines) assert.notMatch(line.replaceAll(/@effect3\b/g, ""), /\w@\w/, line)
  })

  online(
    "in the README install it, and what its first example needs, in an empty folder",
    () =>
      Effect.gen(function*() {
        const dir = yield* directory
        const [block] = installs.filter(({ page }) => page === "README.md")
        const tarball = yield* pack(dir)
        yield* run(dir, "npm", "init", "--yes")
        yield* run(dir, "npm", "pkg", "set", "type=module")
        for (const line of block!.code.trim().split("\n")) {
          if (/effect-tableflip/.test(line) && !isForThis(line)) continue
          yield* run(dir, "sh", "-ec", line.replace(/ effect-tableflip(@effect3)?(?= |$)/, ` ${tarball}`))
        }
        yield* run(dir, "npm", "ls")
        assert.strictEqual(yield* run(dir, "npx", "--no-install", "tableflip", "--version"), `${manifest.version}\n`)
        const imports = entries.map((entry) =>
          `await import("${entry === "index" ? manifest.name : `${manifest.name}/${entry}`}")`
        )
        yield* run(dir, process.execPath, "--input-type=module", "-e", imports.join("\n"))
        const port = yield* freePort
        const app = blocksOf("README.md").find(({ file }) => file === "app.ts")!.code
        fs.writeFileSync(path.join(dir, "app.ts"), app.replaceAll("8080", String(port)))
        const file = path.join(dir, "app.pid")
        const first = yield* start(undefined, { args: ["--import", "tsx", "app.ts"], cwd: dir })
        yield* eventually("the first process", () => pidIn(file) === first.pid, {
          seen: first.dump,
          within: "1 minute"
        })
        assert.strictEqual((yield* ask(port)).body, "hello")
        yield* signal(first.pid, "SIGHUP")
        const next = yield* eventually("the next process", () => pidIn(file) !== first.pid && pidIn(file), {
          seen: first.dump
        })
        assert.deepStrictEqual(yield* first.exit, { code: 0, signal: null })
        assert.strictEqual((yield* ask(port)).body, "hello")
        yield* signal(next, "SIGTERM")
        yield* until("the end", () => !isAlive(next))
      }),
    240_000
  )
})

/** The package and nothing else, as after an installation for the whole machine. */
const unpacked = Effect.gen(function*() {
  const dir = yield* directory
  yield* run(dir, "tar", "xzf", yield* pack(dir))
  return path.join(dir, "package")
})

describe("the command in the package", () => {
  it.scopedLive("runs a program and reloads it where no Effect is installed", () =>
    Effect.gen(function*() {
      const dir = yield* unpacked
      const command = path.join(dir, "dist/bin.js")
      const port = yield* freePort
      const control = path.join(dir, "control.sock")
      const app = yield* start(undefined, {
        args: [command, "run", "--listen", `127.0.0.1:${port}`, "--control", control, "--", ...server]
      })
      const first = yield* ready(app, 1)
      const client = (...args: ReadonlyArray<string>) => run(dir, process.execPath, command, ...args)
      assert.strictEqual(yield* client("--version"), `${manifest.version}\n`)
      yield* client("reload", "--control", control, "--wait", "drained")
      assert.strictEqual(JSON.parse(yield* client("status", "--control", control, "--json")).generation, 2)
      assert.notStrictEqual((yield* ask(port)).pid, first)
      yield* client("stop", "--control", control, "--wait", "drained")
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
    }))

  it.scopedLive("names the licences of what is in it", () =>
    Effect.gen(function*() {
      const notices = fs.readFileSync(path.join(yield* unpacked, "dist/internal/command/LICENSES"), "utf8")
      assert.match(notices, /^effect \d+\.\d+\.\d+\n\nMIT License\n\nCopyright/)
    }))
})

describe("the pages in the package", () => {
  it.scopedLive("lead to each other, to nothing that is left out", () =>
    Effect.gen(function*() {
      const dir = path.join(yield* installed, "node_modules", manifest.name)
      const missing = pages.flatMap((page) =>
        Array.from(textOf(page).matchAll(/\]\((?!\w+:)([^)#\s]+)/g), ([, target]) =>
          path.join(path.dirname(page), target!)).filter((target) =>
            !fs.existsSync(path.join(dir, target))
          ).map((
            target
          ) => `${page}: ${target}`)
      )
      assert.deepStrictEqual(missing, [])
    }))
})
