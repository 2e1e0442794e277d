/** What the daemon and the thread of its relay for pages say to each other. */
import type { NetRule } from "../../net-flags.js";

/** What the thread is started with. */
export interface WebThreadData {
  readonly address: string;
  /** 0 for any. */
  readonly port: number;
  readonly token: string;
  readonly origins: readonly string[];
  /** Places that are not public and may be reached. */
  readonly rules: readonly NetRule[];
}

/** What the thread says. */
export type WebNews =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "failed"; readonly message: string }
  /** Pages that are connected, from now on. */
  | { readonly kind: "clients"; readonly count: number }
  /** A page may not reach something. */
  | {
      readonly kind: "refused";
      readonly protocol: "tcp" | "udp";
      readonly address: string;
      readonly port: number;
    };
