/**
 * A guest's connection to port 80, whose requests the page does: one after the other, their answers written back as they
 * come. Bodies of requests are kept whole before they are sent, as most browsers need it; of answers no more is read than
 * the guest takes.
 *
 * Bounded: what waits of the guest's input, a request's body, time without a request, and, by the reader, heads.
 */
import { answerHead, chunk, continueAnswer, lastChunk, textAnswer } from "../net/http/answer-writer.js";
import { type RequestHead, RequestReader } from "../net/http/request-reader.js";
import type { OutsideTcp, OutsideTcpEvents } from "../net/nat/outside.js";
import type { Timer, Timers } from "../net/timers.js";
import { addressOf, failureText, fieldsToGive, fieldsToSend } from "./fetch-request.js";

/** Bytes of the guest's that wait, of a request's body, and of an answer that are given at once. */
const [MOST_WAITING, MOST_BODY, MOST_PIECE] = [64 << 10, 16 << 20, 64 << 10];
/** Milliseconds without anything from the guest while it is its turn, and for its part of the end. */
const [IDLE_MS, LINGER_MS] = [60_000, 10_000];
/** Answers without a body, whatever they say (RFC 9112, section 6.3). */
const emptyStatuses: ReadonlySet<number> = new Set([204, 205, 304]);

/** What a connection needs. */
export interface FetchSurroundings {
  /** The host that was connected to, as a URL has it. */
  readonly host: string;
  readonly scheme: "http" | "https";
  readonly timers: Timers;
  readonly fetch: typeof fetch;
  /** It is over. */
  gone(): void;
}

/** The connection. */
export class FetchConnection implements OutsideTcp {
  private state: "open" | "ending" | "over" = "open";
  private readonly reader = new RequestReader();
  private head: RequestHead | undefined;
  private body: Uint8Array[] = [];
  private bodyBytes = 0;
  private readonly abort = new AbortController();
  private isAnswering = false;
  private isProceeding = false;
  private isReading = true;
  private resume: (() => void) | undefined;
  /** Whether the guest was told to wait. */
  private isHeld = false;
  private hasEnded = false;
  private timer: Timer;

  constructor(
    private readonly events: OutsideTcpEvents,
    private readonly around: FetchSurroundings,
  ) {
    this.timer = this.idle();
  }

  accept(): void {
    if (this.state === "open") this.events.opened();
  }

  // -- what the guest does

  write(data: Uint8Array): boolean {
    if (this.state !== "open") return true;
    this.reader.push(data);
    this.proceed();
    this.isHeld = this.state === "open" && this.reader.waiting > MOST_WAITING;
    return !this.isHeld;
  }

  end(): void {
    this.hasEnded = true;
    if (this.state === "ending") this.over(false);
    else this.proceed();
  }

  reset(): void {
    if (this.state !== "over") this.finish();
  }

  setReading(isReading: boolean): void {
    this.isReading = isReading;
    if (!isReading) return;
    const { resume } = this;
    this.resume = undefined;
    resume?.();
    this.proceed();
  }

  /** Breaks it off from this side. */
  breakOff(): void {
    this.over(true);
  }

  // -- requests

  /** Takes what there is of the next requests, as far as the guest takes their answers. */
  private proceed(): void {
    if (this.isProceeding) return;
    this.isProceeding = true;
    while (this.state === "open" && !this.isAnswering && this.isReading && this.step());
    this.isProceeding = false;
  }

  /** Whether there was a part of a request. */
  private step(): boolean {
    const part = this.reader.next();
    if (part.kind === "wait") {
      this.waitForMore();
      return false;
    }
    this.timer.cancel();
    if (part.kind === "fault") this.refuse(part.status, part.why, false);
    else if (part.kind === "head") this.begin(part.head);
    else if (part.kind === "body") this.take(part.data);
    else this.ask(this.head!);
    return true;
  }

  private waitForMore(): void {
    this.timer.cancel();
    // Nothing will make whole what is not.
    if (this.hasEnded) return this.reader.isInside ? this.over(true) : this.goodbye();
    this.timer = this.idle();
    if (!this.isHeld) return;
    this.isHeld = false;
    this.events.drained();
  }

  private begin(head: RequestHead): void {
    this.head = head;
    this.body = [];
    this.bodyBytes = 0;
    const address = addressOf(head, this.around.host, this.around.scheme);
    const hasBody = head.length !== 0;
    // What would be read of a body that nobody wants is not worth another request.
    if (typeof address !== "string" && hasBody) this.refuse(address.status, address.text, false);
    else if (head.length !== "chunked" && head.length > MOST_BODY) this.tooLarge();
    else if (head.expects && hasBody) this.events.data(continueAnswer);
  }

  private take(data: Uint8Array): void {
    this.body.push(data);
    this.bodyBytes += data.length;
    if (this.bodyBytes > MOST_BODY) this.tooLarge();
  }

  private tooLarge(): void {
    this.refuse(413, `A page sends no more than ${MOST_BODY >> 20} MiB with a request.`, false);
  }

  /** Answers a request without asking anybody. */
  private refuse(status: number, text: string, keepsAlive: boolean): void {
    const hasBody = this.head?.method !== "HEAD";
    this.head = undefined;
    this.events.data(textAnswer(status, `${text}\n`, { keepsAlive, hasBody }));
    if (!keepsAlive) this.goodbye();
  }

  private ask(head: RequestHead): void {
    const { host, scheme } = this.around;
    const url = addressOf(head, host, scheme);
    if (typeof url !== "string") return this.refuse(url.status, url.text, head.keepsAlive);
    this.isAnswering = true;
    this.answer(head, url).then(
      () => {
        this.isAnswering = false;
        this.head = undefined;
        if (!head.keepsAlive) this.goodbye();
        else this.proceed();
      },
      // What has begun can't be mended: the guest is to see that it is not whole.
      () => this.over(true),
    );
  }

  private async answer(head: RequestHead, url: string): Promise<void> {
    const { method, minor, keepsAlive } = head;
    const hasBody = method !== "HEAD";
    let response: Response;
    try {
      response = await this.fetched(head, url);
    } catch (error) {
      const page = globalThis.location?.origin;
      const text = failureText(url, page, reasonOf(error));
      this.give(textAnswer(502, text, { keepsAlive, hasBody }));
      return;
    }
    const elsewhere = placeElsewhere(response, url);
    if (elsewhere !== undefined) {
      // Another host than the guest has asked for: it shall ask there itself, as far as it may.
      await response.body?.cancel();
      const isSafe = method === "GET" || method === "HEAD";
      const text = `What was asked for is at ${elsewhere}`;
      const options = { keepsAlive, hasBody };
      if (isSafe) this.give(textAnswer(302, `${text}\n`, { ...options, fields: [["location", elsewhere]] }));
      else this.give(textAnswer(502, `${text}; a page can't let a ${method} be repeated there.\n`, options));
      return;
    }
    const isEmpty = !hasBody || emptyStatuses.has(response.status);
    const isChunked = !isEmpty && minor === 1;
    this.give(
      answerHead(
        response.status,
        [
          ...fieldsToGive(response.headers),
          ...(isChunked ? [["transfer-encoding", "chunked"] as const] : []),
          ...(response.status === 205 ? [["content-length", "0"] as const] : []),
          ["connection", keepsAlive && (isEmpty || isChunked) ? "keep-alive" : "close"],
        ],
        response.statusText.replace(/[^\x20-\x7e]/g, ""),
      ),
    );
    if (isEmpty) await response.body?.cancel();
    else await this.pass(response, isChunked);
    // Without parts only the end of the connection is the end of the body.
    if (!isEmpty && !isChunked) this.goodbye();
  }

  private fetched(head: RequestHead, url: string): Promise<Response> {
    const { method } = head;
    const body = this.body;
    this.body = [];
    if (body.length > 0 && (method === "GET" || method === "HEAD"))
      throw new TypeError(`a ${method} with a body can't be fetched`);
    return this.around.fetch(url, {
      method,
      headers: fieldsToSend(head),
      ...(body.length > 0 ? { body: new Blob(body as BlobPart[]) } : {}),
      // The guest is no part of the page: it has neither its cookies, nor its cache, nor its address to tell.
      ...({ mode: "cors", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" } as const),
      redirect: "follow",
      signal: this.abort.signal,
    });
  }

  /** Passes the body on, as fast as the guest takes it. */
  private async pass(response: Response, isChunked: boolean): Promise<void> {
    const reader = response.body?.getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) break;
      for (let at = 0; at < value.length; at += MOST_PIECE) {
        await this.untilRead();
        const data = value.subarray(at, at + MOST_PIECE);
        for (const piece of isChunked ? chunk(data) : [data]) this.give(piece);
      }
    }
    if (isChunked) this.give(lastChunk);
  }

  private untilRead(): Promise<void> | undefined {
    if (this.isReading || this.state === "over") return undefined;
    return new Promise((resolve) => {
      this.resume = resolve;
    });
  }

  private give(bytes: Uint8Array): void {
    if (this.state === "open") this.events.data(bytes);
  }

  // -- the end

  private idle(): Timer {
    return this.around.timers.after(IDLE_MS, () => this.goodbye());
  }

  /** Ends it for the guest, who has some time for its part. */
  private goodbye(): void {
    if (this.state !== "open") return;
    this.state = "ending";
    this.timer.cancel();
    this.events.ended();
    if (this.hasEnded) this.over(false);
    else this.timer = this.around.timers.after(LINGER_MS, () => this.over(true));
  }

  private over(isBroken: boolean): void {
    if (this.state === "over") return;
    this.finish();
    this.events.closed(isBroken);
  }

  private finish(): void {
    this.state = "over";
    this.timer.cancel();
    this.body = [];
    this.abort.abort();
    this.setReading(true);
    this.around.gone();
  }
}

/** Where an answer came from by redirects, as a guest can ask there; undefined if it is the host that was asked. */
function placeElsewhere(response: Response, url: string): string | undefined {
  if (!response.redirected || !URL.canParse(response.url)) return undefined;
  const at = new URL(response.url);
  if (at.host === new URL(url).host) return undefined;
  return `http://${at.host}${at.pathname}${at.search}`;
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } };
  return (
    [message, cause?.message].filter((text) => text !== undefined && text !== "").join(": ") || String(error)
  );
}
