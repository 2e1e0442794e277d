/** What the WebSockets of consoles, streams and captures say alike. */

/** Bytes of a close frame's reason (RFC 6455, section 5.5, less the code). */
const MOST_REASON = 120;

/** A reason as a close frame can carry it. */
export const closeReason = (why: string): string => why.replace(/[^ -~]/g, "?").slice(0, MOST_REASON);

/** Whether a client's text message says that it is done. */
export function saysEnd(text: string): boolean {
  try {
    return (JSON.parse(text) as { end?: unknown } | null)?.end === true;
  } catch {
    return false;
  }
}
