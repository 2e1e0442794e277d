/** Objects behind a web server that only gives files: an image store that somebody has put there. */
import { DiskError } from "../errors.js";
import { checkAddress, type HttpOptions, HttpSource, httpError } from "../http/http-source.js";
import { checkKey, type ObjectInfo, type ObjectPlace, placeIsReadOnly } from "./object-place.js";

/** A place behind a web server. */
export class HttpPlace implements ObjectPlace {
  readonly name: string;
  readonly isReadOnly = true;
  private readonly source: HttpSource;

  /**
   * @param address of the store, `http:` or `https:`
   * @throws DiskError `E_IMAGE_FORMAT` if it is no address
   */
  constructor(address: string, options: HttpOptions = {}) {
    checkAddress(address);
    this.name = address.replace(/\/+$/, "");
    this.source = new HttpSource(options);
  }

  async read(key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    checkKey(this.name, key);
    const url = `${this.name}/${key}`;
    const { status, bytes } = await this.source.get(url, mostBytes);
    if (status === 404 || status === 410) return undefined;
    if (status !== 200) throw httpError(url, `the server answers with status ${status}`);
    return bytes;
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
}
