import { assert, describe, it } from "@effect/vitest"
import { repositoryOf } from "../../scripts/repository.ts"

describe("the repository that a package names", () => {
  for (
    const remote of [
      "https://github.com/owner/name.git",
      "https://github.com/owner/name",
      "https://token@github.com/owner/name.git/",
      "git@github.com:owner/name.git",
      "ssh://git@github.com/owner/name.git",
      "ssh://git@github.com:22/owner/name.git"
    ]
  ) {
    it(`is that of ${remote}`, () => {
      assert.deepStrictEqual(repositoryOf(remote), {
        homepage: "https://github.com/owner/name#readme",
        bugs: { url: "https://github.com/owner/name/issues" },
        repository: { type: "git", url: "git+https://github.com/owner/name.git" }
      })
    })
  }

  it("is that of a group within a group", () => {
    assert.strictEqual(
      repositoryOf("git@git.example.org:a/b/name.git")?.repository.url,
      "git+https://git.example.org/a/b/name.git"
    )
  })

  for (const remote of ["", "/srv/git/name", "../name", "file:///srv/git/name.git", "localhost:name"]) {
    it(`is not ${remote === "" ? "nothing" : remote}`, () => {
      assert.isUndefined(repositoryOf(remote))
    })
  }
})
