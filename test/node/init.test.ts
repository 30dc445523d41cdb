import { assert, describe, it } from "@effect/vitest"
import { isScript } from "../../src/internal/node/init.ts"

describe("a shell that is process 1", () => {
  it.each([[""], ["--login"], ["-l"], ["-i"], ["--norc -i"], ["--rcfile /etc/profile"], ["-o posix"], ["+O extglob"]])(
    "is one at whose prompt somebody types: %s",
    (line) => assert.isFalse(isScript(line.split(" ").filter((word) => word !== "")))
  )

  it.each([["run.sh"], ["-c node"], ["-ec node"], ["--login -c node"], ["--login run.sh"], ["-o errexit run.sh"]])(
    "runs a script or a command: %s",
    (line) => assert.isTrue(isScript(line.split(" ")))
  )
})
