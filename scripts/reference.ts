/**
 * The reference of every module, made from the comments of the source, and the pages of the documentation, as a site of static
 * pages in `build/reference/html`. Fails where something that is exported has no comment, or a link leads nowhere. TypeDoc is
 * fetched for it: it wants another compiler than the project.
 *
 *     npm run reference
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../test/kit/paths.ts"

const folder = path.join(root, "build/reference")

const tools = { typedoc: "^0.28.20", typescript: "^5.9.3" }

const run = (command: string, ...args: ReadonlyArray<string>) => {
  const { error, status } = spawnSync(command, args, { cwd: folder, stdio: "inherit", timeout: 5 * 60_000 })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `exit code ${status}`}`)
}

fs.mkdirSync(folder, { recursive: true })
fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ private: true, devDependencies: tools }))
fs.writeFileSync(
  path.join(folder, "typedoc.json"),
  JSON.stringify({
    name: "effect-tableflip",
    entryPoints: [path.join(root, "src/*.ts")],
    exclude: ["bin", "index"].map((name) => path.join(root, `src/${name}.ts`)),
    tsconfig: path.join(root, "tsconfig.build.json"),
    excludeInternal: true,
    readme: path.join(root, "README.md"),
    projectDocuments: [path.join(root, "docs/*.md")],
    disableSources: true,
    githubPages: false,
    highlightLanguages: ["typescript", "shellscript", "ini", "docker", "yaml", "mermaid"],
    out: "html",
    requiredToBeDocumented: ["Class", "Interface", "TypeAlias", "Variable"],
    validation: { notExported: false, notDocumented: true, invalidLink: true, rewrittenLink: true },
    treatValidationWarningsAsErrors: true
  })
)
run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
run(path.join(folder, "node_modules/.bin/typedoc"))
