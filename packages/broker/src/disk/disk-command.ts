/** What the scheduler's thread is told of disks. */
import type { TreeCommand } from "../cpu/tree-command.js";
import type { DiskChange } from "./allotment.js";

/** A command. */
export type DiskCommand = TreeCommand<DiskChange, DiskChange>;
