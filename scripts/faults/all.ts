/** Every case there is. */
import { cases } from "./cases.ts"
import { connectionTrials } from "./connections.ts"
import * as crew from "./crew.ts"
import { crewConnectionTrials } from "./crewConnections.ts"
import { poolCases } from "./pool.ts"
import { trialOf } from "./run.ts"
import { supervisorCases } from "./supervisor.ts"
import type { Trial } from "./trial.ts"

export const trials: ReadonlyArray<Trial> = [
  ...cases.map(trialOf),
  ...poolCases.map(crew.trialOf),
  ...supervisorCases.map(crew.trialOf),
  ...connectionTrials,
  ...crewConnectionTrials
]
