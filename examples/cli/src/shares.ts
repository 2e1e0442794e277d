/** The folders of `--share`: opened, and given back however the run ends. */
import { LinuxFolder } from "@hyperfile/devices/node";
import type { Share } from "@hyperfile/machine";
import { errorLine } from "./errors.js";
import type { ShareFlags } from "./share-flags.js";

/**
 * Runs `job` with folders, which are closed afterwards.
 * @param error writes to standard error
 * @throws ShareError for folders that can't be shared
 */
export async function withShares<T>(
  shares: readonly ShareFlags[],
  error: (text: string) => void,
  job: (shares: readonly Share[]) => Promise<T>,
): Promise<T> {
  const open: { readonly folder: LinuxFolder; readonly share: Share }[] = [];
  try {
    for (const { path, tag, isReadOnly } of shares) {
      const folder = await LinuxFolder.open(path, { isReadOnly });
      let isSaid = false;
      const onError = (cause: unknown): void => {
        if (!isSaid) error(`${errorLine(cause)}\n`);
        isSaid = true;
      };
      open.push({ folder, share: { folder, tag, onError } });
    }
    return await job(open.map(({ share }) => share));
  } finally {
    for (const { folder } of open) folder.close();
  }
}
