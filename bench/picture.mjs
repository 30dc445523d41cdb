/**
 * Draws latency over time through upgrades from a file of results. It is JavaScript because Vega is only there once the
 * bench has installed it, so that a check of types could not find it.
 *
 *     node bench/picture.mjs <results.json> <picture.svg>
 */
import * as fs from "node:fs"
import * as vega from "vega"
import * as vegaLite from "vega-lite"

const [resultsFile, pictureFile] = process.argv.slice(2)
const { figures } = JSON.parse(fs.readFileSync(resultsFile, "utf8"))
const lines = figures.find(({ name }) => name === "timeline").data

const number = new Intl.NumberFormat("en").format
const seconds = (milliseconds) => milliseconds / 1_000
const end = Math.max(...lines.flatMap(({ points }) => points.map(({ at }) => seconds(at))))
const highest = Math.max(...lines.flatMap(({ points }) => points.map(({ longest }) => longest)))

const x = (last) => ({
  field: "at",
  type: "quantitative",
  scale: { domain: [0, Math.ceil(end)] },
  axis: { title: last ? "seconds" : null, labels: last, ticks: last, grid: false }
})
// Failures are marked above the slowest answer.
const y = (field) => ({
  field,
  type: "quantitative",
  scale: { type: "log", domain: [0.2, highest * 4], nice: false },
  axis: { title: "ms", values: [1, 10, 100, 1_000, 10_000], format: "d" }
})

const connections = (count) => `${count === 0 ? "no" : number(count)} connection${count === 1 ? "" : "s"}`

const panel = ({ connecting, failed, points, requests, server, upgrades }, index) => {
  const isLast = index === lines.length - 1
  const values = points.map(({ at, ...point }) => ({ at: seconds(at), ...point }))
  const marks = values.filter(({ failed }) => failed > 0).map(({ at }) => ({ at, height: highest * 2 }))
  // One number for each upgrade, behind the last of its marks.
  const sumsOf = (what, height) =>
    upgrades.flatMap(({ from }, index) => {
      const next = seconds(upgrades[index + 1]?.from ?? Number.POSITIVE_INFINITY)
      const some = values.filter((point) => point[what] > 0 && point.at >= seconds(from) && point.at < next)
      return some.length === 0
        ? []
        : [{ at: some.at(-1).at, height, count: some.reduce((sum, point) => sum + point[what], 0) }]
    })
  const sums = sumsOf("failed", highest * 2)
  const remade = sumsOf("connecting", highest * 0.8).map((sum) => ({ ...sum, words: `${sum.count} closed` }))
  return {
    title: {
      text: `${server}: ${number(failed)} of ${number(requests)} requests failed, ${connections(connecting)} closed`,
      anchor: "start",
      color: failed === 0 ? "#1a7f37" : "#cf222e"
    },
    width: 760,
    height: 120,
    layer: [
      {
        data: { values: upgrades.map(({ from, to }) => ({ at: seconds(from), to: seconds(to) })) },
        mark: { type: "rect", color: "#ddf4ff" },
        encoding: { x: x(isLast), x2: { field: "to" } }
      },
      {
        data: { values: values.filter(({ longest }) => longest !== null) },
        layer: [
          { mark: { type: "line", color: "#afb8c1", strokeWidth: 1 }, encoding: { x: x(isLast), y: y("longest") } },
          { mark: { type: "line", color: "#0969da", strokeWidth: 1.5 }, encoding: { x: x(isLast), y: y("median") } }
        ]
      },
      {
        data: { values: marks },
        mark: { type: "point", shape: "cross", angle: 45, filled: true, color: "#cf222e", opacity: 1, size: 60 },
        encoding: { x: x(isLast), y: y("height") }
      },
      {
        data: { values: sums },
        mark: { type: "text", color: "#cf222e", dx: 8, align: "left", fontSize: 11 },
        encoding: { x: x(isLast), y: y("height"), text: { field: "count" } }
      },
      {
        data: { values: remade },
        mark: { type: "text", color: "#9a6700", dx: 8, align: "left", fontSize: 11 },
        encoding: { x: x(isLast), y: y("height"), text: { field: "words" } }
      }
    ]
  }
}

const { spec } = vegaLite.compile({
  background: "white",
  padding: 12,
  vconcat: lines.map(panel),
  spacing: 14,
  config: { font: "sans-serif", view: { stroke: "#d0d7de" }, axis: { gridColor: "#eaeef2", domain: false } }
})
fs.writeFileSync(pictureFile, `${await new vega.View(vega.parse(spec), { renderer: "none" }).toSVG()}\n`)
