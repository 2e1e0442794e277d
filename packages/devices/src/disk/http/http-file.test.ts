/** Files behind web servers: images on them, what is fetched, and servers that do not keep the rules. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { contentOf, generator, inPieces, randomBytes } from "../../../test/disk-model.js";
import { nodeCodecs, openImage } from "../../node.js";
import {
  copyDisk,
  createQcow2,
  HttpFile,
  MemoryBackend,
  MemoryFile,
  Qcow2Image,
  RawBackend,
} from "../index.js";

const SIZE = 1_000_000;
const BLOCK = 65_536;

let server: Server;
let address: string;
let files: Record<string, Uint8Array>;
let asked: (string | undefined)[];
/** What the server does in place of what it should, once for each answer. */
let trouble: ((request: IncomingMessage, response: ServerResponse) => void)[];
let version: string | undefined;

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(request.headers.range);
    const now = trouble.shift();
    if (now !== undefined) return now(request, response);
    const bytes = files[request.url!];
    if (bytes === undefined) return void response.writeHead(404).end("none");
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (Number(first) >= bytes.length)
      return void response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    const part = bytes.subarray(Number(first), Number(last) + 1);
    response.writeHead(206, {
      "content-range": `bytes ${first}-${Number(first) + part.length - 1}/${bytes.length}`,
      ...(version !== undefined && { etag: version }),
    });
    response.end(part);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => {
  const random = generator(1);
  files = { "/file": Uint8Array.from({ length: SIZE }, () => random(256)), "/empty": new Uint8Array() };
  asked = [];
  trouble = [];
  version = '"1"';
});

const open = (path = "/file", options = {}) =>
  HttpFile.open(`${address}${path}`, { blockBytes: BLOCK, pauseMs: 1, ...options });

it("reads any range, each block once, and zeros behind the end", async () => {
  const file = await open();
  expect([file.size, file.isReadOnly]).toEqual([SIZE, true]);
  const random = generator(2);
  for (let round = 0; round < 40; round++) {
    const offset = random(SIZE);
    const bytes = new Uint8Array(1 + random(200_000)).fill(1);
    await file.read(offset, inPieces(random, bytes));
    const inside = files["/file"]!.subarray(offset, offset + bytes.length);
    expect(Buffer.compare(bytes.subarray(0, inside.length), inside)).toBe(0);
    expect(bytes.subarray(inside.length).every((byte) => byte === 0)).toBe(true);
  }
  expect(asked).toHaveLength(Math.ceil(SIZE / BLOCK));
  expect(new Set(asked).size).toBe(asked.length);
  const empty = await open("/empty");
  expect(empty.size).toBe(0);
  await expect(file.write()).rejects.toMatchObject({ code: "E_DISK_READ_ONLY" });
  await file.close();
});

it("fetches a block that several wait for once, and keeps no more than it may", async () => {
  const file = await open("/file", { cacheBytes: 8 * BLOCK });
  await Promise.all(Array.from({ length: 20 }, () => file.read(5 * BLOCK, [new Uint8Array(100)])));
  expect(asked).toHaveLength(2);
  const all = new Uint8Array(SIZE);
  await file.read(0, [all]);
  expect(Buffer.compare(all, files["/file"]!)).toBe(0);
  const before = asked.length;
  await file.read(15 * BLOCK, [new Uint8Array(10)]);
  expect(asked).toHaveLength(before);
  await file.read(0, [new Uint8Array(10)]);
  expect(asked).toHaveLength(before + 1);
});

it("carries raw and qcow2 images, with compressed clusters and the image below at another address", async () => {
  const random = generator(3);
  const source = new MemoryBackend(SIZE - (SIZE % 512));
  for (let at = 0; at + 50_000 < source.size; at += 100_000)
    await source.write(at, [randomBytes(random, 50_000)]);
  const content = await contentOf(source);
  const image = async (options: { backingFile?: string; backingFormat?: string }) => {
    const file = new MemoryFile();
    await createQcow2(file, { size: source.size, clusterSize: 4096, ...options });
    return file;
  };
  const base = await image({});
  const qcow2 = await Qcow2Image.open(base, { codecs: nodeCodecs });
  await copyDisk(source, qcow2, { compressed: qcow2 });
  await qcow2.flush();
  const bytesOf = (file: MemoryFile) => contentOf(new RawBackend(file));
  files["/images.qcow2"] = await bytesOf(base);
  files["/top.qcow2"] = await bytesOf(
    await image({ backingFile: `${address}/images.qcow2`, backingFormat: "qcow2" }),
  );
  files["/disk.raw"] = content;
  for (const [path, format] of [
    ["/images.qcow2", "qcow2"],
    ["/top.qcow2", "qcow2"],
    ["/disk.raw", "raw"],
  ]) {
    // What the guest of a raw disk could have written is followed only where the format is said.
    if (path === "/top.qcow2")
      await expect(openImage(`${address}${path}`)).rejects.toMatchObject({ code: "E_IMAGE_CHAIN" });
    const opened = await openImage(`${address}${path}`, path === "/top.qcow2" ? { format: "qcow2" } : {});
    expect(opened.format).toBe(format);
    expect(Buffer.compare(await contentOf(opened.disk), content)).toBe(0);
    await expect(opened.disk.write(0, [new Uint8Array(1)])).rejects.toMatchObject({
      code: "E_DISK_READ_ONLY",
    });
    await opened.close();
  }
  await expect(openImage(`${address}/disk.raw`, { isWritable: true })).rejects.toThrow(
    /disk.raw: what lies behind a web server is only read/,
  );
});

it("never mixes two versions of a file", async () => {
  const file = await open();
  version = '"2"';
  await expect(file.read(BLOCK, [new Uint8Array(1)])).rejects.toThrow(
    "/file: the file has changed since it was opened; open it again",
  );
  version = '"1"';
  await file.read(BLOCK, [new Uint8Array(1)]);
  files["/file"] = files["/file"]!.slice(1);
  await expect(file.read(3 * BLOCK, [new Uint8Array(1)])).rejects.toThrow(/has changed/);
});

it("asks again after what may pass, and blames the server for the rest", async () => {
  const status = (code: number) => (_: IncomingMessage, response: ServerResponse) =>
    void response.writeHead(code).end("no");
  const cut = (request: IncomingMessage) => void request.socket.destroy();
  trouble = [status(503), cut, status(500)];
  expect((await open()).size).toBe(SIZE);
  const answering =
    (code: number, range: string | undefined, bytes: Uint8Array) =>
    (_: IncomingMessage, response: ServerResponse) =>
      void response.writeHead(code, range === undefined ? {} : { "content-range": range }).end(bytes);
  for (const [answer, message] of [
    [status(403), "/file: the server answers with status 403"],
    [status(404), "/file: there is no such file"],
    [answering(200, undefined, new Uint8Array(BLOCK + 1)), "/file: the server gives no ranges of the file"],
    [answering(206, undefined, new Uint8Array(BLOCK)), "the server does not say how large the file is"],
    [answering(206, "bytes 0-9/*", new Uint8Array(10)), "the server does not say how large the file is"],
    [answering(206, `bytes 0-9/${2 ** 60}`, new Uint8Array(10)), "the server does not say how large"],
  ] as const) {
    trouble = [answer];
    await expect(open()).rejects.toThrow(message);
  }
  const file = await open();
  for (const [answer, message] of [
    [answering(206, `bytes ${BLOCK}-99/${SIZE}`, new Uint8Array(10)), /has changed|other bytes/],
    [answering(206, `bytes 0-${BLOCK - 1}/${SIZE}`, new Uint8Array(BLOCK)), /has changed|other bytes/],
    [answering(206, `bytes ${BLOCK}-9/${SIZE}`, new Uint8Array(BLOCK * 2)), /sends more than 65536 bytes/],
    [answering(200, undefined, new Uint8Array(10)), /has changed/],
  ] as const) {
    trouble = [answer];
    await expect(file.read(BLOCK, [new Uint8Array(1)])).rejects.toThrow(message);
  }
  const bytes = new Uint8Array(BLOCK);
  await file.read(BLOCK, [bytes]);
  expect(Buffer.compare(bytes, files["/file"]!.subarray(BLOCK, 2 * BLOCK))).toBe(0);
  await expect(HttpFile.open("ftp://a/b")).rejects.toThrow("ftp://a/b: this is no address of a web server");
});
