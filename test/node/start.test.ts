import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { startCommand } from "../../src/internal/node/start.ts"

const args = (started: Parameters<typeof startCommand>[2]) =>
  Either.map(startCommand("/srv", "/srv/node", started), ({ args }) => args)

describe("the command that starts this process again", () => {
  it("has Node's flags, the script and its arguments", () => {
    assert.deepStrictEqual(
      args({
        argv: ["/srv/node", "/app/main.js", "one"],
        execArgv: ["--enable-source-maps"],
        isSingleExecutable: false
      }),
      Either.right(["--enable-source-maps", "/app/main.js", "one"])
    )
  })

  it("has nothing but the arguments where the program is in Node itself", () => {
    assert.deepStrictEqual(
      args({ argv: ["/srv/app", "/srv/app", "one"], execArgv: ["--no-warnings"], isSingleExecutable: true }),
      Either.right(["one"])
    )
  })
})
