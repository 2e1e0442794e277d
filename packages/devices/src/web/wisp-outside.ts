/** The outside as a relay reaches it, by a page's WebSocket. */
import { NetworkError } from "../net/errors.js";
import type { Outside } from "../net/nat/outside.js";
import { hostTimers } from "../net/timers.js";
import { WispOutside } from "../net/wisp/outside.js";
import { webSocketPort } from "./web-socket-port.js";

/** Parameter of the address of a relay of ours, which its daemon has printed: such a relay says more than WISP does. */
const OURS = { name: "hyperfile", value: "1" } as const;

/** Where the relay is. */
export interface PageRelayOptions {
  /** `ws:` or `wss:` with the token, as `hyperfile daemon --web` prints it; or that of another WISP relay. */
  readonly url: string;
  /**
   * Where names are asked for, as `9.9.9.9` or `9.9.9.9:53`. Unless given, a daemon asks its host's servers, and through other
   * relays it is 1.1.1.1.
   */
  readonly nameServer?: string;
  /** Is told in a line, without the token, whenever the connection has come or gone. */
  state?(text: string): void;
}

/**
 * An outside through a relay. It connects at once, and again whenever the connection is lost; `close` ends it.
 * @throws NetworkError `E_NETWORK_OPTION` for an address or a name server that can't be, `E_NETWORK_HOST` for an address that
 *   the browser refuses, such as `ws:` to another host from a page that came by https
 */
export function wispOutside({ url, nameServer, state }: PageRelayOptions): Outside & { close(): void } {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || (parsed.protocol !== "ws:" && parsed.protocol !== "wss:"))
    throw new NetworkError(
      "E_NETWORK_OPTION",
      `${JSON.stringify(url)} is no address of a relay: write it like ws://127.0.0.1:7380/wisp/?token=…, as hyperfile daemon --web prints it`,
    );
  // A WebSocket has no fragment.
  parsed.hash = "";
  try {
    return new WispOutside({
      connect: (events) => webSocketPort(parsed.href, hostTimers, events),
      name: parsed.host,
      isOurs: parsed.searchParams.get(OURS.name) === OURS.value,
      ...(nameServer === undefined ? {} : { nameServer }),
      ...(state === undefined ? {} : { state }),
    });
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    throw new NetworkError(
      "E_NETWORK_HOST",
      `the browser does not connect to ${parsed.host}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}
