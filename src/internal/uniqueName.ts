/**
 * @internal
 */

/**
 * A file name that nobody else uses: for files that are made under it, with O_EXCL or by bind(2), before they are
 * renamed. It need not be a secret, and `node:crypto` would cost two milliseconds at every start.
 */
export const uniqueName = (): string => `.${process.pid.toString(36)}-${Math.random().toString(36).slice(2, 12)}`
