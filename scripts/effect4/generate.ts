/**
 * Makes the project for Effect 4 out of this one:
 *
 *     npm run effect4:generate [-- --agree] [-- --update]
 *
 * It is written to build/effect4: the sources rewritten, over them what is written by hand for Effect 4
 * (scripts/effect4/overlay), and what it is installed and tested by. It fails on what has no rule, and where the source of
 * a file by hand has changed since both were said to agree. With `--update` the packages are the newest that
 * scripts/effect4/manifest.json allows, and written to scripts/effect4/package-lock.json.
 */
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import ts from "typescript5"
import { root } from "../../test/kit/paths.ts"
import type { ExportsOf } from "./codemod.ts"
import { modulesOf, port, Unported } from "./codemod.ts"
import * as pages from "./pages.ts"
import { here, install, out, update } from "./project.ts"

const overlay = path.join(here, "overlay")

const filesBelow = (folder: string): ReadonlyArray<string> =>
  fs.readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))

const declarationsOf = (module: string): string | undefined =>
  ts.resolveModuleName(
    module,
    path.join(out, "src/index.ts"),
    {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext
    },
    ts.sys,
    undefined,
    undefined,
    ts.ModuleKind.ESNext
  ).resolvedModule?.resolvedFileName

/** What the modules of Effect 4 export that are installed, types too. */
const exportsIn = (asked: Iterable<string>): ExportsOf => {
  const files = [...new Set(asked)].flatMap((module) => declarationsOf(module) ?? [])
  const installed = ts.createProgram(files, { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022 })
  const installedChecker = installed.getTypeChecker()
  const found = new Map<string, ReadonlySet<string>>()
  return (module) => {
    const file = declarationsOf(module)
    if (file === undefined) return undefined
    const known = found.get(file)
    if (known !== undefined) return known
    const source = installed.getSourceFile(file)
    const symbol = source && installedChecker.getSymbolAtLocation(source)
    if (symbol === undefined) return undefined
    const names = new Set(installedChecker.getExportsOfModule(symbol).map(({ name }) => name))
    found.set(file, names)
    return names
  }
}

const fixtures = filesBelow(path.join(root, "test/fixtures")).filter((file) => file.endsWith(".mjs"))

/** What has this package from npm. */
const consumers = [path.join(root, "test/consumer/app.ts"), ...pages.write()]

const programOf = (): ts.Program => {
  const config = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile)
  const { fileNames, options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root)
  return ts.createProgram([...fileNames, ...fixtures, ...consumers], {
    ...options,
    allowJs: true,
    checkJs: false,
    paths: {
      "effect-tableflip": [path.join(root, "src/index.ts")],
      "effect-tableflip/*": [path.join(root, "src/*.ts")]
    }
  })
}

const isPorted = (file: string) =>
  /^(src|test|examples|scripts|bench)\/(?!effect4\/)/.test(file) || file === "scripts/effect4/project.ts"

/** What is the same for both. */
const copied = [
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "LICENSE",
  "README.md",
  "SECURITY.md",
  "docs",
  "esbuild.config.js",
  "rollup.config.js",
  "tsconfig.json",
  "tsconfig.build.json",
  "tsconfig.scripts.json"
]

/** The release lines have the same features since the same release. */
const ofThisLine = (text: string): string => text.replaceAll("@since 3.", "@since 4.")

const write = (file: string, text: string) => {
  fs.mkdirSync(path.dirname(path.join(out, file)), { recursive: true })
  fs.writeFileSync(path.join(out, file), text)
}

if (process.argv.includes("--update")) update()
install()

const byHand = new Set(filesBelow(overlay).map((file) => path.relative(overlay, file)))
for (const folder of ["src", "test", "examples", "scripts", "bench"]) {
  fs.rmSync(path.join(out, folder), { recursive: true, force: true })
}

const program = programOf()
const checker = program.getTypeChecker()
const sources = program.getSourceFiles().filter((source) => isPorted(path.relative(root, source.fileName)))
const blocks = program.getSourceFiles().filter(({ fileName }) => path.dirname(fileName) === pages.folder)
const exportsOf = exportsIn([...sources, ...blocks].flatMap(modulesOf))
const wrong: Array<string> = []
let same = 0
let count = 0
const ported = (source: ts.SourceFile): string => {
  try {
    return port(source, checker, exportsOf)
  } catch (error) {
    if (!(error instanceof Unported)) throw error
    wrong.push(error.message)
    return ""
  }
}
for (const source of sources) {
  const file = path.relative(root, source.fileName)
  if (byHand.has(file)) continue
  count++
  const text = ported(source)
  if (text === source.text) same++
  write(file, ofThisLine(text))
}
for (const folder of ["src", "test", "examples", "scripts", "bench"]) {
  for (const file of filesBelow(path.join(root, folder))) {
    const name = path.relative(root, file)
    if (!/\.(ts|mjs)$/.test(name)) write(name, fs.readFileSync(file, "utf8"))
  }
}
for (
  const file of copied.flatMap((name) => {
    const file = path.join(root, name)
    return fs.statSync(file).isDirectory() ? filesBelow(file) : [file]
  })
) {
  write(path.relative(root, file), fs.readFileSync(file, "utf8"))
}
for (const page of pages.all) {
  write(page, pages.rewrite(page, (file) => ported(program.getSourceFile(file)!)))
}
for (const file of byHand) write(file, ofThisLine(fs.readFileSync(path.join(overlay, file), "utf8")))

/** What each file by hand was written against: it must be looked at again when that changes. */
const agreedFile = path.join(here, "agreed.json")
const counterparts = Object.fromEntries(
  Array.from(byHand).flatMap((file) => {
    const source = path.join(root, file)
    return fs.existsSync(source)
      ? [[file, crypto.createHash("sha256").update(fs.readFileSync(source)).digest("hex")] as const]
      : []
  })
)
if (process.argv.includes("--agree")) fs.writeFileSync(agreedFile, `${JSON.stringify(counterparts, undefined, 2)}\n`)
const agreed: Record<string, string> = JSON.parse(fs.readFileSync(agreedFile, "utf8"))
for (const [file, digest] of Object.entries(counterparts)) {
  if (agreed[file] === digest) continue
  wrong.push(`${file} has changed: change ${path.relative(root, path.join(overlay, file))} alike, then say --agree`)
}

console.log(`${count} files rewritten, ${same} of them the same as before, ${byHand.size} by hand`)
if (wrong.length > 0) {
  console.error(`Not ready for Effect 4:\n${wrong.join("\n")}`)
  process.exitCode = 1
}
