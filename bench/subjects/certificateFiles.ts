/** The certificate of the tests as files, for programs that want those. */
import * as fs from "node:fs"
import * as path from "node:path"
import { certificate } from "../../test/kit/certificate.ts"

export const writeCertificate = (folder: string): { readonly certificate: string; readonly key: string } => {
  const files = { certificate: path.join(folder, "certificate.pem"), key: path.join(folder, "key.pem") }
  fs.writeFileSync(files.certificate, certificate.cert)
  fs.writeFileSync(files.key, certificate.key, { mode: 0o600 })
  return files
}
