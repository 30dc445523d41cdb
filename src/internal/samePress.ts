/**
 * One press of Ctrl-C can arrive twice: from the terminal, and from a wrapper such as npm or the leader of the group.
 *
 * @internal
 */
import * as Duration from "effect/Duration"

/** A stop signal that comes within this time after another is the same one. */
export const samePress: Duration.Duration = Duration.seconds(1)
