/** Asks a name server, by datagrams and by TCP where the answer does not fit, over any outside. */
import { familyOf } from "../../addresses.js";
import { ByteQueue } from "../../byte-queue.js";
import { read16, write16 } from "../../frames/ip.js";
import type { Timers } from "../../timers.js";
import type { Outside } from "../outside.js";
import { HEADER_BYTES, isTruncated } from "./message.js";

/** Milliseconds for one attempt. */
const QUERY_MS = 3000;
const ATTEMPTS = 2;
const LENGTH_BYTES = 2;

/** A name server. */
export interface DnsServer {
  readonly address: string;
  readonly port: number;
}

/**
 * Asks a question, in the form of DNS.
 * @returns the answer in the same form; undefined if there is none
 */
export async function askServer(
  outside: Pick<Outside, "openUdp" | "connectTcp">,
  server: DnsServer,
  message: Uint8Array,
  timers: Timers,
): Promise<Uint8Array | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const asked = message.slice();
    // A number that nobody can guess: answers can't be forged from afar.
    write16(asked, 0, crypto.getRandomValues(new Uint16Array(1))[0]!);
    const answer = await askUdp(outside, server, asked, timers);
    if (answer === undefined) continue;
    return isTruncated(answer) ? ((await askTcp(outside, server, asked, timers)) ?? answer) : answer;
  }
  return undefined;
}

/** Whether an answer is one to this question. */
const answers = (answer: Uint8Array, asked: Uint8Array): boolean =>
  answer.length >= HEADER_BYTES && read16(answer, 0) === read16(asked, 0) && (answer[2]! & 0x80) !== 0;

function askUdp(
  outside: Pick<Outside, "openUdp">,
  server: DnsServer,
  asked: Uint8Array,
  timers: Timers,
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const done = (answer?: Uint8Array): void => {
      timer.cancel();
      socket.close();
      resolve(answer);
    };
    const timer = timers.after(QUERY_MS, () => done());
    const socket = outside.openUdp(familyOf(server.address), {
      data: (data, address, port) => {
        if (address === server.address && port === server.port && answers(data, asked)) done(data);
      },
      failed: () => done(),
    });
    socket.send(asked, server.address, server.port);
  });
}

function askTcp(
  outside: Pick<Outside, "connectTcp">,
  { address, port }: DnsServer,
  asked: Uint8Array,
  timers: Timers,
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const input = new ByteQueue();
    const done = (answer?: Uint8Array): void => {
      timer.cancel();
      connection.reset();
      resolve(answer);
    };
    const timer = timers.after(QUERY_MS, () => done());
    const connection = outside.connectTcp(address, port, {
      opened: () => {
        const framed = new Uint8Array(LENGTH_BYTES + asked.length);
        write16(framed, 0, asked.length);
        framed.set(asked, LENGTH_BYTES);
        connection.write(framed);
      },
      failed: () => done(),
      data: (bytes) => {
        input.push(bytes);
        if (input.length < LENGTH_BYTES) return;
        const length = read16(input.bytes(0, LENGTH_BYTES), 0);
        if (input.length < LENGTH_BYTES + length) return;
        const answer = input.bytes(LENGTH_BYTES, length);
        done(answers(answer, asked) ? answer : undefined);
      },
      ended: () => done(),
      drained: () => {},
      closed: () => done(),
    });
  });
}
