/** A page's WebSocket as a port of WISP. */
import type { Timers } from "../net/timers.js";
import { MOST_WAITING, type WispPort, type WispPortEvents } from "../net/wisp/port.js";

/** Milliseconds between two looks at what waits: a WebSocket does not say when it has gone. */
const LOOK_MS = 10;
/** Bytes at which there is room again. */
const ROOM_AT = MOST_WAITING / 4;
/** Code for a connection that the page ends because of what came (RFC 6455, section 7.4.2: private). */
const CLOSE_FAULT = 4002;
/** Bytes of a close frame's reason (RFC 6455, section 5.5, less the code). */
const MOST_REASON = 120;

/**
 * Opens a connection.
 * @throws DOMException of the browser, for an address that it does not take
 */
export function webSocketPort(url: string, timers: Timers, events: WispPortEvents): WispPort {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let isLooking = false;
  let wasOpen = false;
  const look = (): void => {
    isLooking = false;
    if (socket.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount <= ROOM_AT) events.drained();
    else watch();
  };
  const watch = (): void => {
    if (isLooking) return;
    isLooking = true;
    timers.after(LOOK_MS, look);
  };
  const silence = (): void => {
    socket.onopen = socket.onmessage = socket.onclose = null;
  };
  socket.onopen = () => {
    wasOpen = true;
  };
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) events.message(new Uint8Array(data));
    else {
      silence();
      socket.close(CLOSE_FAULT, "a packet is a binary message");
      events.closed("it has sent text");
    }
  };
  socket.onclose = ({ code, reason }) => {
    silence();
    events.closed(closeText(wasOpen, code, reason));
  };
  return {
    send: (message) => {
      // The relay has the first word: nothing is sent before it is open.
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(message as Uint8Array<ArrayBuffer>);
      if (socket.bufferedAmount > ROOM_AT) watch();
    },
    get waiting() {
      return socket.bufferedAmount;
    },
    close: (why) => {
      silence();
      socket.close(CLOSE_FAULT, why.replace(/[^ -~]/g, "?").slice(0, MOST_REASON));
    },
  };
}

/** Why it is over. A browser does not say why a connection was not opened: what can be looked at is said instead. */
function closeText(wasOpen: boolean, code: number, reason: string): string {
  if (reason !== "") return reason;
  if (wasOpen)
    return code === 1000 || code === 1001 ? "it has ended the connection" : "the connection broke off";
  const origin = globalThis.location?.origin;
  const page =
    origin === undefined ? "" : `, and whether it lets pages of ${origin} in (--web-origin ${origin})`;
  return `it does not answer, or refuses: see whether it runs, whether the address is whole with its token${page}`;
}
