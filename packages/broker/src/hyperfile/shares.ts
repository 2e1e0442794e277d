/** The folders that VMs of a Hyperfile share with the host; whether they are there shows when a VM starts. */
import type { FieldPath, HyperfileDocument } from "./document.js";
import type { ShareSpec } from "./types.js";

/** Disks, folders and network cards of a VM together: the slots that console, entropy and balloon leave. */
export const MOST_DEVICES = 5;

/** Reads the folders of one VM. @param disks how many disks it has */
export function readShares(
  document: HyperfileDocument,
  values: readonly unknown[],
  disks: number,
  path: FieldPath,
): readonly ShareSpec[] {
  const tags = new Set<string>();
  if (values.length > 0 && values.length + disks > MOST_DEVICES)
    document.add(path, `${values.length + disks} disks and folders: a VM takes ${MOST_DEVICES} together`);
  return values.map((value, at) => {
    const fields = value as Partial<ShareSpec> & Pick<ShareSpec, "folder" | "tag">;
    if (tags.has(fields.tag))
      document.add([...path, at, "tag"], `another folder has the tag ${fields.tag}: give each its own`);
    tags.add(fields.tag);
    return {
      folder: fields.folder,
      tag: fields.tag,
      readonly: fields.readonly ?? false,
      uid: fields.uid ?? 0,
      gid: fields.gid ?? 0,
    };
  });
}
