/** What a machine has to be to go on from a snapshot, whoever wrote it: this page, or `hyperfile snapshot`. */
import { MachineError } from "@hyperfile/machine";
import { plainMachineOf, type SnapshotFile } from "@hyperfile/machine/snapshot";
import type { VmRecipe } from "./protocol.js";

/** @throws SnapshotError for a damaged one, MachineError `E_BOOT` for a machine that a page can't have */
export function recipeOf(file: SnapshotFile): VmRecipe {
  const machine = plainMachineOf(file);
  if ("problem" in machine)
    throw new MachineError(
      "E_BOOT",
      `the snapshot's machine ${machine.problem}: machines of a page are plain`,
    );
  const { nics, ...plain } = machine;
  return { ...plain, nics: nics.length };
}
