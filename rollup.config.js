/**
 * Joins what the upgrader consists of into two files, after the compiler has made a file of each module. To find, read and
 * link forty of them is almost half of the time that the import of `effect-tableflip/Upgrader` takes, and start-up time is
 * upgrade time. The command's own modules are one more. Every module keeps its place: from there it exports what is its own.
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

const command = "internal/cli/main.js"
const clients = "internal/cli/controlCommands.js"

export default {
  input: Object.fromEntries(modules.map((name) => [name.slice(0, -".js".length), path.join(dist, name)])),
  external: (id) => !id.startsWith(".") && !path.isAbsolute(id),
  plugins: [withSourceMap],
  treeshake: false,
  output: {
    dir: dist,
    entryFileNames: "[name].js",
    chunkFileNames: "internal/[name].js",
    manualChunks: (id, { getModuleInfo }) => {
      const isNeededBy = (name) => reachableFrom(name, getModuleInfo).has(id)
      if (isNeededBy(clients) && !isNeededBy(command)) {
        return isNeededBy("Control.js") ? "ControlProtocol" : "ClientsWithAllTheyNeed"
      }
      // What a client and help need, without Effect. The one module that looks for package.json stays where it is.
      if (isNeededBy(command)) {
        return id === path.join(dist, command)
          ? undefined
          : isNeededBy("Upgrader.js")
          ? "CommonToAll"
          : "CommandWithAllItNeeds"
      }
      // What drains is of use without the rest.
      return ["Drain", "Upgrader"].find((name) => isNeededBy(`${name}.js`))?.concat("WithAllItNeeds")
    },
    minifyInternalExports: false,
    hoistTransitiveImports: false,
    sourcemap: true,
    sourcemapExcludeSources: true
  },
  onwarn: ({ message }) => {
    throw new Error(message)
  }
}
