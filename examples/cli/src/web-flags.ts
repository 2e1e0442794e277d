/** `--web` of the daemon: what the user says of the relay for pages. */
import { isIP } from "node:net";
import { InvalidArgumentError } from "commander";
import { type NetRule, ruleOf } from "./net-flags.js";

/** Where the relay listens unless told otherwise: for this computer's browsers alone. */
export const usualWebPlace = { address: "127.0.0.1", port: 7380 } as const;

/** Where the relay listens. */
export interface WebPlace {
  readonly address: string;
  /** 0 for any. */
  readonly port: number;
}

/** What pages' relays are, for the help of the command. */
export const webHelp = `
With --web a web page with virtual machines in it gets out through this daemon: paste the address that the daemon prints, with
its token, into the page. The relay speaks WISP 1, at 127.0.0.1:7380 unless PLACE says otherwise (port 0 for any), for
pages of this computer (localhost) and those named by --web-origin. What pages reach is public: neither this computer nor
private networks, unless --web-allow names an address, a range such as 10.0.0.0/8, or a name. The token is another one each
time. Whoever has it uses this computer's network: put a server with TLS before it where others can listen.
`;

const placeUsage = "ADDRESS:PORT, such as 127.0.0.1:7380 or [::1]:7380";

/**
 * Reads the value of `--web`.
 * @throws InvalidArgumentError
 */
export function parseWeb(text: string): WebPlace {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? "";
  const port = Number(digits);
  const isThere = isIP(address) === (bracketed === undefined ? 4 : 6);
  if (!isThere || port > 65535) throw new InvalidArgumentError(`Write ${placeUsage}.`);
  return { address, port };
}

/** Adds an origin to those before. @throws InvalidArgumentError for what no browser calls a page's origin */
export function addOrigin(text: string, before: readonly string[] = []): readonly string[] {
  const isOrigin =
    text === "null" || (/^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text);
  if (!isOrigin)
    throw new InvalidArgumentError(
      "Write the beginning of the page's address, up to its host and port, such as https://example.org.",
    );
  return [...before, text];
}

/** Adds a place that pages may reach to those before. @throws InvalidArgumentError */
export const addAllowed = (text: string, before: readonly NetRule[] = []): readonly NetRule[] => [
  ...before,
  ruleOf(true, text, "TO[:PORT[-PORT]], such as 192.168.1.7:80"),
];
