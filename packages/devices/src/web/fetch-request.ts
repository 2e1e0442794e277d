/** What becomes of a guest's request as a page does it, and of the answer as a guest reads it. */
import type { RequestHead } from "../net/http/request-reader.js";

/** Fields of one connection, which mean nothing on another (RFC 9110, section 7.6.1), and those that a page may not set. */
const ownFields: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...[
    "host",
    "content-length",
    "expect",
    "accept-encoding",
    "accept-charset",
    "cookie",
    "origin",
    "referer",
    "date",
    "via",
  ],
]);
/**
 * Fields without which an answer is as right, and with which a browser would first ask the server whether a page may send them.
 * Without them answers are whole and fresh: a part, or "not modified", could not be told from the whole where fields of the
 * answer are hidden from pages.
 */
const adviceFields: ReadonlySet<string> = new Set([
  ...["user-agent", "cache-control", "pragma", "range", "if-range", "if-modified-since", "if-none-match"],
  ...["upgrade-insecure-requests", "dnt", "priority", "forwarded", "save-data", "x-requested-with"],
]);
/**
 * Fields of an answer that are not true behind a page: it has decoded the body, whose length is another then, and its
 * connection is its own; other protocols and ports are not to be had here.
 */
const untrueFields: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["content-encoding", "content-length", "accept-ranges", "alt-svc", "strict-transport-security"],
]);
/** Methods that `fetch` does not do. */
const closedMethods: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/** A refusal that is the guest's fault, or that can be told before anything is asked. */
export interface Refusal {
  readonly status: number;
  readonly text: string;
}

/** The address to be fetched, or why it can't be. @param host as a URL has it, the one that was connected to */
export function addressOf(head: RequestHead, host: string, scheme: string): string | Refusal {
  const { method, target } = head;
  if (closedMethods.has(method)) return { status: 501, text: `A page can't do ${method}.` };
  const absolute = /^http:\/\/([^/?#]*)(.*)$/i.exec(target);
  const asked = plainHost(absolute?.[1] ?? head.host ?? host);
  if (asked !== host)
    return {
      status: 421,
      text: `This connection is to ${host}, and the request is for ${asked}: a page reaches a host only by the name that was looked up.`,
    };
  const path = absolute === null ? target : absolute[2]!.replace(/^(?!\/)/, "/");
  const url = `${scheme}://${host}${path}`;
  if (!path.startsWith("/") || path.includes("#") || !URL.canParse(url) || new URL(url).hostname !== host)
    return { status: 400, text: `The target of the request can't be fetched: ${path}` };
  return url;
}

/** A host without the port that is meant anyway, and as names are compared. */
const plainHost = (host: string): string =>
  host
    .toLowerCase()
    .replace(/:(80)?$/, "")
    .replace(/\.$/, "");

/** The fields that a page sends on. */
export function fieldsToSend({ fields }: RequestHead): [string, string][] {
  const named = new Set(
    fields
      .filter(([name]) => name === "connection")
      .flatMap(([, value]) => value.toLowerCase().split(/[ \t]*,[ \t]*/)),
  );
  return fields.flatMap(([name, value]) => {
    const isOwn = ownFields.has(name) || named.has(name) || /^(sec-|proxy-|x-forwarded-)/.test(name);
    return isOwn || adviceFields.has(name) ? [] : [[name, value] as [string, string]];
  });
}

/** The fields of an answer that are true for the guest. */
export function fieldsToGive(headers: Headers): [string, string][] {
  const fields: [string, string][] = [];
  headers.forEach((value, name) => {
    if (!untrueFields.has(name)) fields.push([name, value.replace(/[^\t\x20-\x7e\x80-\xff]/g, "?")]);
  });
  return fields;
}

/** What a guest is told when the page could not do its request. */
export const failureText = (
  url: string,
  page: string | undefined,
  why: string,
): string => `The page could not fetch ${url}: ${why}

This virtual machine runs in a web page, without a relay: its requests are made by the browser, which lets a page read only
what the server lets pages of other sites read (CORS: a field Access-Control-Allow-Origin). Either the server does not allow
${page === undefined ? "that" : `it for ${page}`}, or it can't be reached, or it does not speak the protocol that the page has to use.

What to do: start "hyperfile daemon --web" on a computer of yours, or use another WISP relay, and give its address to the
page: then everything is reached as from that computer. Or ask for it at a server that allows pages of other sites.
`;
