import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Fixtures and examples run what would be published: it starts in a quarter of a second, on every Node. */
export default (): void => {
  for (const script of ["build", "build:scripts"]) {
    execFileSync("npm", ["run", "--silent", script], { cwd: root, stdio: "inherit" })
  }
}
