/** A capture of a network on its way: from the thread that has the network, through a port of messages, to the daemon. */
import type { MessagePort } from "node:worker_threads";
import type { CaptureCounts, CaptureEnd, CaptureHandle, CaptureListener } from "@hyperfile/broker";
import { Capture, type CaptureOptions, type Switch } from "@hyperfile/devices/net";

/** What comes from the thread. */
type CaptureNews =
  | { readonly blocks: Uint8Array<ArrayBuffer>; readonly counts: CaptureCounts }
  | { readonly ended: CaptureEnd };

/** What goes there. */
type CaptureWord = { readonly took: number } | "end";

/** Captures a switch for who has the other end of a port; over when that is closed. */
export function serveCapture(lan: Switch, options: CaptureOptions, port: MessagePort): Capture {
  const tell = (news: CaptureNews, transfer: ArrayBuffer[] = []): void => port.postMessage(news, transfer);
  const capture = new Capture(lan, options, {
    blocks: (blocks, counts) => tell({ blocks, counts }, [blocks.buffer]),
    // The daemon closes it when it has heard that.
    ended: (ended) => tell({ ended }),
  });
  port.on("message", (word: CaptureWord) => {
    if (word === "end") capture.end("asked");
    else capture.took(word.took);
  });
  port.on("close", () => capture.abandon());
  return capture;
}

/** Hears a capture, in the daemon. @param lost what to say where it is cut off */
export function hearCapture(port: MessagePort, listener: CaptureListener, lost: () => string): CaptureHandle {
  let isOver = false;
  port.on("message", (news: CaptureNews) => {
    if (isOver) return;
    if ("blocks" in news) listener.blocks(news.blocks, news.counts);
    else {
      isOver = true;
      port.close();
      listener.ended(news.ended);
    }
  });
  port.on("close", () => {
    if (!isOver) listener.failed(lost());
    isOver = true;
  });
  const say = (word: CaptureWord): void => port.postMessage(word);
  return {
    took: (bytes) => say({ took: bytes }),
    end: () => say("end"),
    close: () => {
      isOver = true;
      port.close();
    },
  };
}
