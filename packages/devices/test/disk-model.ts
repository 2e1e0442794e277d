/** Helpers of the tests of disks: random numbers with a seed, random requests, and a model that knows what must be there. */
import type { BlockBackend } from "../src/disk/index.js";

/** Random whole numbers from 0 to below `end`, the same for the same seed (mulberry32). */
export function generator(seed: number): (end: number) => number {
  let state = seed >>> 0;
  return (end) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * end);
  };
}

/** Bytes that no other seed gives, or that compress well. */
export function randomBytes(random: (end: number) => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (random(3) === 0) return bytes.fill(1 + random(255));
  for (let at = 0; at < length; at++) bytes[at] = random(256);
  return bytes;
}

/** All bytes of a disk. */
export async function contentOf(disk: BlockBackend): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size);
  await disk.read(0, [bytes]);
  return bytes;
}

/** A vector of `bytes` in pieces. */
export function inPieces(random: (end: number) => number, bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(bytes.length - at, 1 + random(bytes.length));
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/**
 * Does random requests on a disk, several at once on ranges apart, and the same to `model`.
 * @returns requests that were done
 */
export async function randomRequests(
  disk: BlockBackend,
  model: Uint8Array,
  random: (end: number) => number,
  rounds: number,
  unit: number,
): Promise<number> {
  let done = 0;
  for (let round = 0; round < rounds; round++) {
    const jobs: Promise<void>[] = [];
    const lanes = 1 + random(4);
    const lane = Math.floor(disk.size / lanes);
    for (let each = 0; each < lanes; each++) {
      const length = 1 + random(Math.min(lane, unit * 3));
      const at = each * lane + random(lane - length + 1);
      done++;
      switch (random(6)) {
        case 0:
          jobs.push(disk.writeZeroes(at, length, { mayUnmap: random(2) === 0 }));
          model.fill(0, at, at + length);
          break;
        case 1: {
          const there = new Uint8Array(length);
          const expected = model.slice(at, at + length);
          jobs.push(
            disk.read(at, inPieces(random, there)).then(() => {
              const wrong = there.findIndex((byte, index) => byte !== expected[index]);
              if (wrong !== -1)
                throw new Error(`byte ${at + wrong} is ${there[wrong]}, not ${expected[wrong]}`);
            }),
          );
          break;
        }
        case 2:
          if (random(3) === 0) jobs.push(disk.flush());
          break;
        default: {
          const bytes = randomBytes(random, length);
          model.set(bytes, at);
          jobs.push(disk.write(at, inPieces(random, bytes)));
        }
      }
    }
    await Promise.all(jobs);
  }
  return done;
}
