import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/*/*.test.ts", "test/*.test.ts"],
          exclude: ["test/process/**"],
          setupFiles: ["test/kit/setup.ts"],
          sequence: { concurrent: true },
          // What hangs, hangs for ever; this is long enough for a machine that is busy with something else.
          testTimeout: 30_000
        }
      },
      {
        test: {
          name: "process",
          include: ["test/process/*.test.ts"],
          globalSetup: ["test/kit/buildOnce.ts"],
          setupFiles: ["test/kit/setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Figures such as open descriptors and time limits want a machine of their own.
          poolOptions: { forks: { singleFork: true } }
        }
      }
    ]
  }
})
