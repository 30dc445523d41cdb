/**
 * What no module may do, looked for in the imports. The floors are those of docs/design.md.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Module } from "../kit/modules.ts"
import { circles, modulesIn } from "../kit/modules.ts"
import { root } from "../kit/paths.ts"

const modules = modulesIn("src")

/** A row of the table: what is in it may import each other, and what is on a lower floor. */
interface Row {
  readonly floor: number
  readonly parts: ReadonlyArray<string>
}

const rows: ReadonlyArray<Row> = Array.from(
  fs.readFileSync(path.join(root, "docs/design.md"), "utf8").matchAll(/^\| (\d+) +\| ([^|]+)\|/gm),
  ([, floor, parts = ""]) => ({
    floor: Number(floor),
    parts: Array.from(parts.matchAll(/`([^`]+)`/g), ([, part = ""]) => part)
  })
)

const rowsOf = (file: string): ReadonlyArray<Row> => {
  const name = file.slice("src/".length, -".ts".length)
  return rows.filter(({ parts }) => parts.some((part) => name === part || name.startsWith(`${part}/`)))
}

const isIn = (...folders: ReadonlyArray<string>) => ({ file }: Module) =>
  folders.some((folder) => file.startsWith(`src/internal/${folder}`))

const found = (what: (module: Module) => ReadonlyArray<string>, among: ReadonlyArray<Module> = modules) =>
  among.flatMap((module) => what(module).map((seen) => `${module.file}: ${seen}`))

describe("the modules of src", () => {
  it("are each in one row of the table of floors, and the table names nothing else", () => {
    assert.isAbove(rows.length, 5)
    assert.deepStrictEqual(modules.filter(({ file }) => rowsOf(file).length !== 1).map(({ file }) => file), [])
    const unknown = rows.flatMap(({ parts }) => parts).filter((part) =>
      !fs.existsSync(path.join(root, "src", `${part}.ts`)) && !fs.existsSync(path.join(root, "src", part))
    )
    assert.deepStrictEqual(unknown, [])
  })

  it("say of what they export since which release of this line it is there", () => {
    const [line] = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")).version.split(".")
    const tags = found(({ file, text }) =>
      file.startsWith("src/internal/") ? [] : [...text.matchAll(/@since (\S+)/g)].map(([, since = ""]) => since)
    )
    assert.isAbove(tags.length, 100)
    assert.deepStrictEqual(tags.filter((tag) => !new RegExp(`: ${line}\\.\\d+\\.\\d+$`).test(tag)), [])
  })

  it("say of each thing that they export what it is", () => {
    const exported = /^export (?:abstract )?(?:const|class|interface|type|function|namespace) (\w+)/gm
    const silent = found(({ file, text }) =>
      file.startsWith("src/internal/") ? [] : [...text.matchAll(exported)].flatMap(({ 1: name = "", index }) => {
        const [, comment = ""] = /\/\*\*((?:(?!\*\/)[^])*)\*\/\n$/.exec(text.slice(0, index)) ?? []
        return /\w[^]*@since \S+\n \* @category \w+/.test(comment.replace(/^[\s*]*@/, "@")) ? [] : [name]
      })
    )
    assert.deepStrictEqual(silent, [])
  })

  it("import from lower floors only, types too", () => {
    const upwards = found(({ file, imports }) => {
      const [own] = rowsOf(file)
      return imports.filter(({ isOwn, target }) => {
        const [other] = isOwn ? rowsOf(target) : []
        return own !== undefined && other !== undefined && own !== other && other.floor >= own.floor
      }).map(({ target }) => target)
    })
    assert.deepStrictEqual(upwards, [])
  })

  it("do not import each other in a circle", () => {
    const values = new Map(modules.map(({ file, imports }) => [
      file,
      new Set(imports.filter(({ isOwn, isType }) => isOwn && !isType).map(({ target }) => target))
    ]))
    assert.deepStrictEqual(circles(values), [])
  })
})

describe("the tree of docs/design.md", () => {
  it("names each file of src/internal in its folder, and nothing else", () => {
    const page = fs.readFileSync(path.join(root, "docs/design.md"), "utf8")
    const [, listing = ""] = /^## The tree$[^]*?^```text\n([^]*?)^```$/m.exec(page) ?? []
    const named = listing.replaceAll(/\n {2,}/g, " ").trimEnd().split("\n").flatMap((line) => {
      const [, folder = "", files = ""] = /^(\S+)\/ +(.*)$/.exec(line) ?? []
      return files.split(", ").map((file) => path.posix.join("src/internal", folder, `${file}.ts`))
    })
    assert.isAbove(named.length, 50)
    const there = modules.map(({ file }) => file).filter((file) => file.startsWith("src/internal/"))
    assert.deepStrictEqual({
      missing: there.filter((file) => !named.includes(file)),
      gone: named.filter((file) => !there.includes(file))
    }, { missing: [], gone: [] })
  })
})

describe("Node's internals", () => {
  const internals = /(?<!this)(?:\.|\[")(_(?!tag\b|op\b|id\b)[a-z]\w*)|process\.binding|_createServerHandle/g

  it("are used in internal/node/internals.ts only, and those of ws in internal/drain/ws.ts", () => {
    const uses = ({ text }: Module) =>
      Array.from(text.replace(/\/\*\*?[^]*?\*\/|\/\/.*/g, "").matchAll(internals), ([use]) => use)
    assert.deepStrictEqual(
      found(uses, modules.filter((module) => !isIn("node/internals.ts", "drain/ws.ts")(module))),
      []
    )
    assert.isNotEmpty(found(uses, modules.filter(isIn("node/internals.ts"))))
  })
})

describe("the loggers of the app", () => {
  it("are called by internal/logging alone, which outlives one that throws, and by the command, whose logger is its own", () => {
    const logs = ({ text }: Module) => Array.from(text.matchAll(/\bEffect\.log\w*/g), ([use]) => use)
    const outside = modules.filter((module) =>
      !isIn("logging.ts", "cli/")(module) && module.file !== "src/UpgradableSocketServer.ts"
    )
    assert.deepStrictEqual(found(logs, outside), [])
  })
})

// The command is a program, which has a terminal and arguments of its own.
describe("the system", () => {
  // What these give is known without asking the system, or is a type.
  const harmless = new Set(["node:path", "node:util", "node:async_hooks"])
  /** Constants, and functions of text, under modules that have more. */
  const pure =
    /import \{ (?:constants|isIP|isIPv4|isIPv6)(?:, (?:constants|isIP|isIPv4|isIPv6))* \} from "node:(?:os|net)"/

  const touched = ({ imports, text }: Module) => {
    const rest = text.replace(new RegExp(pure, "g"), "")
    return [
      ...imports.filter(({ isType, target }) =>
        !isType && target.startsWith("node:") && !harmless.has(target) && rest.includes(`"${target}"`)
      ).map(({ target }) => target),
      ...Array.from(
        rest.replace(/\/\*\*?[^]*?\*\/|\/\/.*/g, "").matchAll(/\bglobalThis\.process\b|\bimport\("(node:[^"]+)"\)/g),
        ([use]) => use
      )
    ]
  }

  it("is touched by Env alone: in internal/node, and by the simulated one, which stands in for it", () => {
    const outside = modules.filter((module) =>
      !isIn("node/", "simulated/", "cli/")(module) &&
      !["src/bin.ts", "src/UpgradableSocketServer.ts", "src/internal/controlSocket/httpServer.ts"].includes(module.file)
    )
    assert.deepStrictEqual(found(touched, outside), [])
  })

  it("is behind Env: of internal/node, all but the command sees Node's internals at most, which drains need", () => {
    const passed = ({ imports }: Module) =>
      imports.filter(({ target }) =>
        target.startsWith("src/internal/node/") && target !== "src/internal/node/internals.ts"
      ).map(({ target }) => target)
    const outside = modules.filter((module) => !isIn("node/", "cli/")(module) && module.file !== "src/Env.ts")
    assert.deepStrictEqual(found(passed, outside), [])
  })
})

describe("the core", () => {
  /** Modules of their own for what needs more, and the command, which has no successor that waits for it. */
  const leaves = new Set([
    "src/ClusterHandOver.ts",
    "src/ConnectionState.ts",
    "src/EventStream.ts",
    ...modules.map(({ file }) => file).filter((file) => file.startsWith("src/internal/cluster/")),
    "src/internal/json.ts",
    "src/UpgradableHttpServer.ts",
    "src/UpgradableSocketServer.ts",
    "src/index.ts",
    "src/bin.ts"
  ])

  it("takes no package but Effect's, which the app has anyway", () => {
    const { dependencies, peerDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
    assert.isUndefined(dependencies)
    const taken = modules.flatMap(({ imports }) => imports).filter(({ isOwn, target }) =>
      !isOwn && !target.startsWith("node:")
    ).map(({ target }) => /^(?:@[^/]+\/)?[^/]+/.exec(target)![0])
    assert.sameMembers([...new Set(taken)], Object.keys(peerDependencies))
  })

  it("imports neither Schema nor Stream, no barrel and nothing of @effect/platform", () => {
    const core = modules.filter((module) => !leaves.has(module.file) && !isIn("cli/")(module))
    const heavy = ({ imports }: Module) =>
      imports.filter(({ isOwn, isType, target }) =>
        !isType && (isOwn
          ? leaves.has(target) || target.startsWith("src/internal/cli/")
          : !/^(?:node:|effect\/)/.test(target) || target === "effect/Schema" || target === "effect/Stream")
      ).map(({ target }) => target)
    assert.deepStrictEqual(found(heavy, core), [])
  })

  it("imports nothing of Effect that brings Schema or Stream along", () => {
    const dist = ["dist/esm", "dist"].map((folder) => path.join(root, "node_modules/effect", folder))
      .find((folder) => fs.existsSync(path.join(folder, "Effect.js")))!
    const importsOf = (file: string) =>
      Array.from(
        fs.readFileSync(file, "utf8").matchAll(/(?:from|^import) "(\.[^"]+)"/gm),
        ([, target]) => path.resolve(path.dirname(file), target!)
      )
    const pathsTo = new Map<string, string>()
    const core = modules.filter((module) => !leaves.has(module.file) && !isIn("cli/", "simulated/")(module))
    for (const { file, imports } of core) {
      for (const { isType, target } of imports) {
        if (isType || !target.startsWith("effect/")) continue
        pathsTo.set(path.join(dist, `${target.slice("effect/".length)}.js`), `${file} ${target}`)
      }
    }
    assert.isAbove(pathsTo.size, 10)
    for (const [file, way] of pathsTo) {
      for (const target of importsOf(file)) {
        if (!pathsTo.has(target)) pathsTo.set(target, `${way} ${path.relative(dist, target)}`)
      }
    }
    const heavy = [...pathsTo].filter(([file]) =>
      /^(?:internal\/)?(?:schema|stream)\.js$/i.test(path.relative(dist, file))
    )
    assert.deepStrictEqual(heavy.map(([, way]) => way), [])
  })
})

describe("the command", () => {
  it("loads nothing of Effect for help, for a mistake, and for a client: only what runs imports it, when it does", () => {
    const byFile = new Map(modules.map((module) => [module.file, module]))
    const reached = new Set(["src/bin.ts", "src/internal/cli/main.ts", "src/internal/cli/controlCommands.ts"])
    for (const file of reached) {
      for (const { isOwn, isType, target } of byFile.get(file)!.imports) if (isOwn && !isType) reached.add(target)
    }
    assert.include([...reached], "src/internal/cli/run.ts")
    const foreign = ({ imports }: Module) =>
      imports.filter(({ isOwn, isType, target }) => !isOwn && !isType && !target.startsWith("node:"))
        .map(({ target }) => target)
    assert.deepStrictEqual(found(foreign, [...reached].map((file) => byFile.get(file)!)), [])
  })
})

describe("test, scripts and bench", () => {
  const folderOf = (file: string) => file.startsWith("test/kit/") ? "test/kit" : file.split("/")[0]!

  it("stand on the kit, which imports none of them, and not on each other in a circle", () => {
    const arrows = new Map<string, Set<string>>()
    for (const { file, imports } of ["test", "scripts", "bench"].flatMap(modulesIn)) {
      const from = folderOf(file)
      for (const { isOwn, target } of imports) {
        const to = folderOf(target)
        if (isOwn && to !== from) arrows.set(from, (arrows.get(from) ?? new Set()).add(to))
      }
    }
    assert.deepStrictEqual(circles(arrows), [])
    assert.deepStrictEqual([...arrows.get("test/kit") ?? []], ["src"])
  })
})
