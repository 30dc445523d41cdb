/**
 * What a timer of Node can count.
 *
 * @internal
 */

/** The most milliseconds that one can be asked for, some 25 days: with more it fires at once. */
export const longestTimer = 2 ** 31 - 1
