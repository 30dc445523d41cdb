/**
 * What was meant by a word that is not known.
 *
 * @internal
 */

import { listed } from "./flag.ts"

/** How many letters are to be added, left out, changed or swapped with the next one. */
const distance = (from: string, to: string): number => {
  const rows: Array<ReadonlyArray<number>> = [Array.from({ length: to.length + 1 }, (_, column) => column)]
  for (let row = 1; row <= from.length; row++) {
    const above = rows[row - 1]!
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const isSame = from[row - 1] === to[column - 1]
      const isSwapped = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      current.push(Math.min(
        above[column]! + 1,
        current[column - 1]! + 1,
        above[column - 1]! + (isSame ? 0 : 1),
        isSwapped ? rows[row - 2]![column - 2]! + 1 : Number.POSITIVE_INFINITY
      ))
    }
    rows.push(current)
  }
  return rows[from.length]![to.length]!
}

const most = 3

/** Those of the words that are nearest to the one that was typed, or begin with it. */
export const nearest = (typed: string, words: ReadonlyArray<string>): ReadonlyArray<string> => {
  const bare = typed.replace(/^-+/, "")
  if (bare.length < 2 || bare.length > 64) return []
  const ranked = words.map((word) => {
    const other = word.replace(/^-+/, "")
    return { word, far: bare.length > 2 && other.startsWith(bare) ? 1 : distance(bare, other) }
  }).filter(({ far, word }) => far <= Math.max(1, Math.floor(word.replace(/^-+/, "").length / 3)))
  const least = Math.min(...ranked.map(({ far }) => far))
  return ranked.filter(({ far }) => far === least).slice(0, most).map(({ word }) => word)
}

/** To follow what was said of a word that is not known. */
export const didYouMean = (typed: string, words: ReadonlyArray<string>): string => {
  const found = nearest(typed, words)
  return found.length === 0 ? "" : `; did you mean ${listed(found, "or")}?`
}
