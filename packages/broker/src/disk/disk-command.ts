/** What the scheduler's thread is told of disks; it was admitted by the sender. */
import type { DiskChange } from "./allotment.js";

/** A command. */
export type DiskCommand =
  | {
      readonly kind: "pool";
      readonly name: string;
      readonly parent: string;
      readonly allotment: DiskChange;
    }
  | { readonly kind: "removePool"; readonly name: string }
  | {
      readonly kind: "add";
      readonly name: string;
      readonly pool: string;
      readonly slot: number;
      readonly allotment: DiskChange;
    }
  | { readonly kind: "remove"; readonly name: string }
  | {
      readonly kind: "configure";
      readonly name: string;
      readonly of: "client" | "pool";
      readonly change: DiskChange;
    };
