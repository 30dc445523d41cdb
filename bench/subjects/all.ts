import { close } from "./close.ts"
import { cluster } from "./cluster.ts"
import { goTableflip } from "./goTableflip.ts"
import { gunicorn } from "./gunicorn.ts"
import { plain, platform } from "./ours.ts"
import { pm2 } from "./pm2.ts"
import type { Subject } from "./subject.ts"
import { supervised } from "./supervised.ts"
import { workers } from "./workers.ts"

export const subjects: ReadonlyArray<Subject> = [
  platform,
  plain,
  workers,
  supervised,
  close,
  cluster,
  pm2,
  goTableflip,
  gunicorn
]
