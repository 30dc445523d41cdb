import { assert, describe, it } from "@effect/vitest"
import { cpuQuota, withQuota } from "../../src/internal/node/cpuQuota.ts"

const quota = (files: Readonly<Record<string, string>>) => cpuQuota((file) => files[file])

const v1 = "33 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct"
const v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"

describe("the processor time that control groups leave", () => {
  it("is read from version 2 in a container, which sees itself as the root", () => {
    assert.strictEqual(
      quota({
        "/proc/self/cgroup": "0::/\n",
        "/proc/self/mountinfo": `${v2}\n`,
        "/sys/fs/cgroup/cpu.max": "150000 100000\n"
      }),
      1.5
    )
  })

  it("is the tightest of all groups above", () => {
    assert.strictEqual(
      quota({
        "/proc/self/cgroup": "0::/system.slice/app.service\n",
        "/proc/self/mountinfo": v2,
        "/sys/fs/cgroup/system.slice/cpu.max": "200000 100000",
        "/sys/fs/cgroup/system.slice/app.service/cpu.max": "max 100000"
      }),
      2
    )
  })

  it("is read from version 1", () => {
    assert.strictEqual(
      quota({
        "/proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/0a1b\n0::/\n",
        "/proc/self/mountinfo": `${v1}\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`,
        "/sys/fs/cgroup/cpu,cpuacct/docker/0a1b/cpu.cfs_quota_us": "300000",
        "/sys/fs/cgroup/cpu,cpuacct/docker/0a1b/cpu.cfs_period_us": "100000"
      }),
      3
    )
  })

  it("is found where the mount shows a part of the tree, or another one", () => {
    const files = {
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"
    }
    const mount = v1.replace(" / ", " /docker/0a1b ")
    for (const group of ["/docker/0a1b", "/elsewhere"]) {
      assert.strictEqual(
        quota({ ...files, "/proc/self/cgroup": `3:cpu,cpuacct:${group}`, "/proc/self/mountinfo": mount }),
        0.5
      )
    }
  })

  it("is without limit where there is none, and where nothing can be read", () => {
    assert.strictEqual(quota({}), Infinity)
    assert.strictEqual(quota({ "/proc/self/cgroup": "nonsense", "/proc/self/mountinfo": "more\n - \n" }), Infinity)
    assert.strictEqual(
      quota({
        "/proc/self/cgroup": "3:cpu,cpuacct:/\n0::/",
        "/proc/self/mountinfo": `${v1}\n${v2}`,
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "/sys/fs/cgroup/cpu.max": "max 100000"
      }),
      Infinity
    )
  })

  it("bounds the number of processes, of which there is one at least", () => {
    assert.deepStrictEqual([Infinity, 8, 2.9, 1, 0.1].map((quota) => withQuota(4, quota)), [4, 4, 2, 1, 1])
  })
})
