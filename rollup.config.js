/**
 * Joins what the upgrader consists of into two files, after the compiler has made a file of each module. To find, read and
 * link forty of them is almost half of the time that the import of `effect-tableflip/Upgrader` takes, and start-up time is
 * upgrade time. Every module keeps its place: from there it exports what is its own.
 */
import * as fs from "node:fs"
import * as path from "node:path"

const dist = path.resolve("dist")

const modules = fs.readdirSync(dist, { recursive: true }).filter((name) => name.endsWith(".js"))

const withSourceMap = {
  name: "with-source-map",
  load: (file) => ({
    code: fs.readFileSync(file, "utf8"),
    map: fs.readFileSync(`${file}.map`, "utf8")
  })
}

/** All that a module imports, directly or not, with itself. */
const reachableFrom = (name, getModuleInfo) => {
  const found = new Set([path.join(dist, name)])
  for (const id of found) for (const imported of getModuleInfo(id)?.importedIds ?? []) found.add(imported)
  return found
}

export default {
  input: Object.fromEntries(modules.map((name) => [name.slice(0, -".js".length), path.join(dist, name)])),
  external: (id) => !id.startsWith(".") && !path.isAbsolute(id),
  plugins: [withSourceMap],
  treeshake: false,
  output: {
    dir: dist,
    entryFileNames: "[name].js",
    chunkFileNames: "internal/[name].js",
    // What drains is of use without the rest.
    manualChunks: (id, { getModuleInfo }) =>
      ["Drain", "Upgrader"].find((name) => reachableFrom(`${name}.js`, getModuleInfo).has(id))?.concat(
        "WithAllItNeeds"
      ),
    minifyInternalExports: false,
    hoistTransitiveImports: false,
    sourcemap: true,
    sourcemapExcludeSources: true
  },
  onwarn: ({ message }) => {
    throw new Error(message)
  }
}
