/** Objects behind a web server that only gives files: an image store that somebody has put there. */
import { DiskError } from "../errors.js";
import { checkKey, type ObjectInfo, type ObjectPlace, placeIsReadOnly, tooLarge } from "./object-place.js";

/** Tries, and milliseconds before the second one; each later pause is twice as long. */
const [TRIES, PAUSE_MS] = [4, 250];
/** Milliseconds that a server may take for an object. */
const TIMEOUT_MS = 30_000;

/** How a server is asked. */
export interface HttpPlaceOptions {
  /** In place of the host's own, for credentials and the like. */
  readonly fetch?: (url: string, init: { readonly signal: AbortSignal }) => Promise<Response>;
  /** Milliseconds before the second try. */
  readonly pauseMs?: number;
}

/** A place behind a web server. */
export class HttpPlace implements ObjectPlace {
  readonly name: string;
  readonly isReadOnly = true;
  private readonly fetch: NonNullable<HttpPlaceOptions["fetch"]>;
  private readonly pauseMs: number;

  /**
   * @param address of the store, `http:` or `https:`
   * @throws DiskError `E_IMAGE_FORMAT` if it is no address
   */
  constructor(address: string, options: HttpPlaceOptions = {}) {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol))
      throw new DiskError("E_IMAGE_FORMAT", `${address}: this is no address of a web server`);
    this.name = address.replace(/\/+$/, "");
    this.fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
    this.pauseMs = options.pauseMs ?? PAUSE_MS;
  }

  async read(key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    checkKey(this.name, key);
    for (let tries = 1; ; tries++) {
      const answer = await this.ask(key, mostBytes);
      if (answer.isFinal) {
        if (answer.error !== undefined) throw answer.error;
        return answer.bytes;
      }
      if (tries === TRIES) throw answer.error;
      await new Promise((resolve) => setTimeout(resolve, this.pauseMs * 2 ** (tries - 1)));
    }
  }

  renew(): Promise<boolean> {
    return Promise.reject(placeIsReadOnly(this.name));
  }

  add(): Promise<void> {
    return Promise.reject(placeIsReadOnly(this.name));
  }

  sync(): Promise<void> {
    return Promise.reject(placeIsReadOnly(this.name));
  }

  replace(): Promise<void> {
    return Promise.reject(placeIsReadOnly(this.name));
  }

  create(): Promise<boolean> {
    return Promise.reject(placeIsReadOnly(this.name));
  }

  remove(): Promise<boolean> {
    return Promise.reject(placeIsReadOnly(this.name));
  }

  // biome-ignore lint/correctness/useYield: a web server that only gives files has no lists
  async *list(): AsyncIterable<ObjectInfo> {
    throw new DiskError(
      "E_DISK_IO",
      `${this.name}: a web server tells of no image that is not asked for by its name`,
    );
  }

  /** Asks once. What is not final may go well the next time. */
  private async ask(
    key: string,
    mostBytes: number,
  ): Promise<{ readonly isFinal: boolean; readonly bytes?: Uint8Array; readonly error?: DiskError }> {
    const url = `${this.name}/${key}`;
    const fails = (how: string, cause?: unknown) =>
      new DiskError("E_DISK_IO", `${url}: ${how}`, {}, cause === undefined ? undefined : { cause });
    try {
      const response = await this.fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (response.status === 404) return { isFinal: true };
      if (!response.ok) {
        const error = fails(`the server answers with status ${response.status}`);
        return { isFinal: response.status < 500 && response.status !== 429, error };
      }
      return { isFinal: true, bytes: await this.body(response, key, mostBytes) };
    } catch (error) {
      if (error instanceof DiskError) return { isFinal: true, error };
      const { message, cause } = error as Error;
      const reason = cause instanceof Error ? cause.message : message;
      return { isFinal: false, error: fails(`can't be fetched: ${reason}`, error) };
    }
  }

  private async body(response: Response, key: string, mostBytes: number): Promise<Uint8Array> {
    if (response.body === null) return new Uint8Array();
    const reader = response.body.getReader();
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.length;
      if (bytes > mostBytes) {
        await reader.cancel();
        throw tooLarge(this.name, key, mostBytes);
      }
      parts.push(value);
    }
    const whole = new Uint8Array(bytes);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
