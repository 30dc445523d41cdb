import { defineConfig } from "vitest/config"

/** How the source is built, which is written for Effect 3. */
const notHere = ["test/house/**"]

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/*/*.test.ts", "test/*.test.ts"],
          exclude: ["test/process/**", ...notHere],
          setupFiles: ["test/kit/setup.ts"],
          sequence: { concurrent: true },
          testTimeout: 30_000
        }
      },
      {
        test: {
          name: "process",
          include: ["test/process/*.test.ts"],
          exclude: notHere,
          globalSetup: ["test/kit/buildOnce.ts"],
          setupFiles: ["test/kit/setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          fileParallelism: false
        }
      }
    ]
  }
})
