import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import type { HandOff } from "../../src/internal/wire/handOff.ts"
import { encodeHandOff, untoldExchange } from "../../src/internal/wire/handOff.ts"
import { layoutOf } from "../../src/internal/wire/layout.ts"

const nothing = { leading: 0, inherit: 0, state: false, control: false, channel: false }

describe("the layout of descriptors", () => {
  it("is that of the Python package where nothing else is asked for: 3, 4, 5 and so on", () => {
    const { inherit, names, ready } = layoutOf({ ...nothing, inherit: 3 })
    assert.deepStrictEqual({ ready, names, inherit }, { ready: 3, names: 4, inherit: [5, 6, 7] })
  })

  it("has the descriptors of other protocols first and the streams of its own last", () => {
    assert.deepStrictEqual(layoutOf({ leading: 2, inherit: 2, state: true, control: true, channel: true }), {
      slots: [
        { what: "leading", index: 0 },
        { what: "leading", index: 1 },
        { what: "ready" },
        { what: "names" },
        { what: "inherit", index: 0 },
        { what: "inherit", index: 1 },
        { what: "state" },
        { what: "control" },
        { what: "channel" }
      ],
      leading: [3, 4],
      ready: 5,
      names: 6,
      inherit: [7, 8],
      state: 9,
      control: 10,
      channel: 11
    })
  })

  it("moves nothing for what is not there", () => {
    assert.strictEqual(layoutOf({ ...nothing, control: true }).control, 5)
    assert.strictEqual(layoutOf({ ...nothing, state: true }).control, undefined)
    assert.strictEqual(layoutOf(nothing).state, undefined)
  })

  it("has no gap and gives no number twice, whatever is asked for", () => {
    for (let leading = 0; leading < 3; leading++) {
      for (let inherit = 0; inherit < 3; inherit++) {
        for (let more = 0; more < 8; more++) {
          const [state, control, channel] = [(more & 1) > 0, (more & 2) > 0, (more & 4) > 0] as const
          const { slots, ...numbers } = layoutOf({ leading, inherit, state, control, channel })
          const given = Object.values(numbers).flat().filter((number) => number !== undefined)
          assert.deepStrictEqual(
            new Set(given),
            new Set(slots.map((_, index) => 3 + index)),
            JSON.stringify({ leading, inherit, state, control, channel })
          )
          assert.strictEqual(given.length, slots.length)
        }
      }
    }
  })

  it("puts the control stream of a successor right behind its state", () => {
    const { control, state } = layoutOf({ ...nothing, inherit: 3, state: true, control: true, channel: true })
    const handOff: HandOff = {
      ready: 3,
      names: 4,
      descriptors: [5, 6, 7],
      generation: 2,
      lifelines: [],
      state: Option.fromNullable(state),
      control: Option.none(),
      supervisor: Option.none(),
      channel: Option.none()
    }
    assert.deepStrictEqual(untoldExchange(encodeHandOff(handOff), handOff), Option.fromNullable(control))
    const ofAnother = { ...encodeHandOff(handOff), TABLEFLIP_FDS: "9,8" }
    assert.deepStrictEqual(untoldExchange(ofAnother, handOff), Option.none())
  })
})
