/** What a scheduler's thread is told of a tree of pools and VMs; it was admitted by the sender. */

/** A command. `Client`: what is said of a VM that is added besides. */
export type TreeCommand<Allotment, Change, Client = unknown> =
  | {
      readonly kind: "pool";
      readonly name: string;
      readonly parent: string;
      readonly allotment: Allotment;
    }
  | { readonly kind: "removePool"; readonly name: string }
  | ({
      readonly kind: "add";
      readonly name: string;
      readonly pool: string;
      readonly slot: number;
      readonly allotment: Allotment;
    } & Client)
  | { readonly kind: "remove"; readonly name: string }
  | {
      readonly kind: "configure";
      readonly name: string;
      readonly of: "client" | "pool";
      readonly change: Change;
    };
