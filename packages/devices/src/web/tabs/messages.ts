/**
 * What tabs of one network say to each other, by `BroadcastChannel`. All of them hear one channel, on which each says that it is
 * here and which cards it has; frames go by a channel that is one tab's alone, so that the others need not look at them.
 *
 * Any page of the origin can send anything, of this version or of another: what is not as it should be is undefined here.
 */

/** Of all messages. Tabs of another version are not heard. */
export const TABS_VERSION = 1;
/** Cards that a tab may have. */
export const MOST_TAB_CARDS = 1024;
/** Frames of one message. */
export const MOST_FRAMES = 512;
/** Characters of a leader's text. */
export const MOST_TEXT = 300;
/** Bytes that a frame counts beside its own. */
const FRAME_COST = 64;

/** A card of a tab. */
export interface TabCard {
  readonly vm: string;
  readonly mac: string;
  readonly address: string | undefined;
}

/** A frame on its way: the header of virtio-net, which says what is still to be done, and its bytes. */
export interface TabFrame {
  readonly header: Uint8Array;
  readonly bytes: Uint8Array;
}

/** On the channel of all. */
export type TabWord =
  /** A tab is here, with these cards; with the gateway it also says what that leads to. */
  | {
      readonly kind: "here";
      readonly from: string;
      readonly cards: readonly TabCard[];
      readonly isLeading: boolean;
      readonly text: string;
    }
  /** Who else is here? */
  | { readonly kind: "who"; readonly from: string }
  | { readonly kind: "gone"; readonly from: string };

/** On the channel of one tab. */
export type TabParcel =
  | { readonly kind: "frames"; readonly from: string; readonly frames: readonly TabFrame[] }
  /** So many bytes of frames were taken, and others may come. */
  | { readonly kind: "took"; readonly from: string; readonly bytes: number };

/** Bytes that a frame counts. */
export const costOf = ({ bytes }: { readonly bytes: Uint8Array }): number => bytes.length + FRAME_COST;

/** A message of a channel of all. */
export function parseWord(data: unknown): TabWord | undefined {
  const message = envelope(data);
  if (message === undefined) return undefined;
  const { kind, from, cards, isLeading, text } = message;
  if (kind === "who" || kind === "gone") return { kind, from };
  if (kind !== "here" || typeof isLeading !== "boolean" || typeof text !== "string") return undefined;
  if (text.length > MOST_TEXT || !Array.isArray(cards) || cards.length > MOST_TAB_CARDS) return undefined;
  return cards.every(isCard) ? { kind, from, cards, isLeading, text } : undefined;
}

export function parseParcel(data: unknown): TabParcel | undefined {
  const message = envelope(data);
  if (message === undefined) return undefined;
  const { kind, from, frames, bytes } = message;
  if (kind === "took") {
    return typeof bytes === "number" && Number.isSafeInteger(bytes) && bytes > 0
      ? { kind, from, bytes }
      : undefined;
  }
  if (kind !== "frames" || !Array.isArray(frames) || frames.length > MOST_FRAMES) return undefined;
  return frames.every(isFrame) ? { kind, from, frames } : undefined;
}

/** A message as it is posted. */
export const enveloped = (message: TabWord | TabParcel): unknown => ({ ...message, version: TABS_VERSION });

function envelope(
  data: unknown,
): (Readonly<Record<string, unknown>> & { readonly from: string }) | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const message = data as Readonly<Record<string, unknown>>;
  const { version, from } = message;
  if (version !== TABS_VERSION || typeof from !== "string" || !/^[0-9a-f-]{8,64}$/.test(from))
    return undefined;
  return message as typeof message & { readonly from: string };
}

function isCard(card: unknown): card is TabCard {
  const { vm, mac, address } = (card ?? {}) as Readonly<Record<string, unknown>>;
  return (
    typeof vm === "string" &&
    /^[a-z0-9][a-z0-9-]{0,62}$/i.test(vm) &&
    typeof mac === "string" &&
    /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) &&
    (address === undefined || (typeof address === "string" && /^\d{1,3}(\.\d{1,3}){3}$/.test(address)))
  );
}

function isFrame(frame: unknown): frame is TabFrame {
  const { header, bytes } = (frame ?? {}) as Readonly<Record<string, unknown>>;
  return header instanceof Uint8Array && bytes instanceof Uint8Array;
}
