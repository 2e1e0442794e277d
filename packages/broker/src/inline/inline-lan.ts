/**
 * What the networks of a fleet are made of, as the fleet sees it: it divides their bandwidth, and knows neither frames nor
 * protocols. `Lan` of the devices has this shape.
 */
import type { NetPolicySpec, NetworkSpec } from "../hyperfile/types.js";
import type { NetDirection } from "../net/allotment.js";

/** A network card that is to be connected. */
export interface InlineCardRequest {
  /** Name of its VM in the network. */
  readonly vm: string;
  readonly mac: string;
  readonly address: string | undefined;
  readonly policy: NetPolicySpec;
}

/** What a card asks of the fleet. */
export interface InlineGate {
  /** Whether no limit holds the card in a direction. */
  isFree(direction: NetDirection): boolean;
  /** So many bytes wait for a turn, of which {@link InlineCard.let} tells. */
  wait(direction: NetDirection, bytes: number): void;
}

/** A card that is connected. The guest's maker gets it as `cable`, and knows what it is. */
export interface InlineCard {
  /** Bytes that wait for a turn. */
  waiting(direction: NetDirection): number;
  /** Lets frames go, so many bytes; gives how many went. */
  let(direction: NetDirection, bytes: number): number;
  /** A limit may have gone: lets go what nothing holds any more. */
  look(): void;
  /** Puts the cable in, or takes it out; the guest is told. */
  setUp(isUp: boolean): void;
  /** What it has done, by name. */
  figures(): Readonly<Record<string, number>>;
  /** Takes it out for good. */
  disconnect(): void;
}

/** A network. */
export interface InlineLan {
  /** Connects a card. Throws an error of one line for an address that can't be had. */
  plug(request: InlineCardRequest, gate: InlineGate): InlineCard;
  close(): void;
}

/** Makes a network. */
export type OpenInlineLan = (spec: NetworkSpec) => InlineLan;

/** What a guest's maker gets for each of its cards, in `cables` of its surroundings. */
export interface InlineCable {
  /** Its address, as `52:54:00:12:34:56`. */
  readonly mac: string;
  /** Name of the VM in the network. */
  readonly hostName: string;
  /** What the network's `plug` gave; undefined for a cable that leads nowhere. */
  readonly cable: InlineCard | undefined;
}
