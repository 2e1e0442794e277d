/** A capture of a network, through the daemon, as its client takes it. */
import type { WebSocket } from "ws";
import type { CaptureCounts, CaptureEnd } from "../../net/capture.js";

/** What a capture is to be; all of a network, without limit, unless given. */
export interface CaptureLimits {
  /** Name of the only VM. */
  readonly vm?: string;
  /** Bytes that are kept of a frame. */
  readonly snaplen?: number;
  /** Size of the capture and seconds at which it ends. */
  readonly bytes?: number;
  readonly seconds?: number;
}

/** A capture that goes on. */
export class CaptureConnection {
  /** @param socket paused */
  constructor(private readonly socket: WebSocket) {
    // One that fails closes as well.
    socket.on("error", () => {});
  }

  /**
   * Takes it to its end.
   * @param take takes whole blocks of a pcapng file; while a promise that it gives is pending, nothing more is read
   * @param counted is told what it has so far
   * @returns why it has ended; undefined if it was broken off, with all that `take` has got being whole
   * @throws what `take` throws (the promise rejects); the capture is broken off then
   */
  run(
    take: (bytes: Uint8Array) => unknown,
    counted: (counts: CaptureCounts) => void = () => {},
  ): Promise<CaptureEnd | undefined> {
    const { socket } = this;
    return new Promise((resolve, reject) => {
      let ended: CaptureEnd | undefined;
      const fail = (error: unknown): void => {
        reject(error);
        socket.terminate();
      };
      const takeNow = (bytes: Uint8Array): void => {
        const taken = take(bytes);
        if (!(taken instanceof Promise)) return;
        socket.pause();
        taken.then(() => socket.resume(), fail);
      };
      socket.on("message", (data, isBinary) => {
        try {
          if (isBinary) return takeNow(new Uint8Array(data as Buffer));
          const text = JSON.parse(data.toString()) as CaptureCounts | { readonly ended: CaptureEnd };
          if ("ended" in text) ended = text.ended;
          else counted(text);
        } catch (error) {
          fail(error);
        }
      });
      socket.on("close", () => resolve(ended));
      if (socket.readyState === socket.CLOSED) resolve(undefined);
      socket.resume();
    });
  }

  /** Ends it: what is left comes. */
  end(): void {
    if (this.socket.readyState === this.socket.OPEN) this.socket.send('{"end":true}');
  }

  /** Breaks it off. */
  close(): void {
    this.socket.terminate();
  }
}
