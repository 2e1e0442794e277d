/** Bytes from a web server: asked for again where that may help, and never more of them than were asked for. */
import { DiskError } from "../errors.js";

/** Tries, and milliseconds before the second one; each later pause is twice as long. */
const [TRIES, PAUSE_MS] = [4, 250];
/** Milliseconds that a server may take for an answer. */
const TIMEOUT_MS = 30_000;

/** How a server is asked. */
export interface HttpOptions {
  /** In place of the host's own, for credentials and the like. */
  readonly fetch?: (
    url: string,
    init: { readonly signal: AbortSignal; readonly headers: Readonly<Record<string, string>> },
  ) => Promise<Response>;
  /** Milliseconds before the second try. */
  readonly pauseMs?: number;
}

/** What a server answered. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

/** The error for what a server did. */
export const httpError = (url: string, how: string, cause?: unknown): DiskError =>
  new DiskError("E_DISK_IO", `${url}: ${how}`, {}, cause === undefined ? undefined : { cause });

/** Whether text is the address of a web server. */
export const isAddress = (text: string): boolean => /^https?:\/\//i.test(text) && URL.canParse(text);

/** Checks an address. @throws DiskError `E_IMAGE_FORMAT` */
export function checkAddress(address: string): void {
  if (!isAddress(address))
    throw new DiskError("E_IMAGE_FORMAT", `${address}: this is no address of a web server`);
}

/** Asks web servers. */
export class HttpSource {
  private readonly fetch: NonNullable<HttpOptions["fetch"]>;
  private readonly pauseMs: number;

  constructor(options: HttpOptions = {}) {
    this.fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init));
    this.pauseMs = options.pauseMs ?? PAUSE_MS;
  }

  /**
   * Asks until there is an answer of which another try would not give a better one: not 429, and none above 499.
   * @param mostBytes that its body may have
   * @throws DiskError `E_DISK_IO`; `E_IMAGE_LIMIT` for a longer body
   */
  async get(
    url: string,
    mostBytes: number,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    for (let tries = 1; ; tries++) {
      const answer = await this.ask(url, mostBytes, headers);
      if (!(answer instanceof DiskError)) return answer;
      if (tries === TRIES || answer.code !== "E_DISK_IO") throw answer;
      await new Promise((resolve) => setTimeout(resolve, this.pauseMs * 2 ** (tries - 1)));
    }
  }

  private async ask(
    url: string,
    mostBytes: number,
    headers: Readonly<Record<string, string>>,
  ): Promise<HttpAnswer | DiskError> {
    try {
      const response = await this.fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), headers });
      const { status } = response;
      if (status === 429 || status >= 500) {
        await response.body?.cancel();
        return httpError(url, `the server answers with status ${status}`);
      }
      return { status, headers: response.headers, bytes: await bodyOf(response, url, mostBytes) };
    } catch (error) {
      if (error instanceof DiskError) return error;
      const { message, cause } = error as Error;
      return httpError(url, `can't be fetched: ${cause instanceof Error ? cause.message : message}`, error);
    }
  }
}

async function bodyOf(response: Response, url: string, mostBytes: number): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array();
  const reader = response.body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > mostBytes) {
      await reader.cancel();
      throw new DiskError("E_IMAGE_LIMIT", `${url}: the server sends more than ${mostBytes} bytes`);
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
