/**
 * The last samples of all VMs, in bounded memory: blocks of a minute's samples, with an array of numbers for each VM
 * that ran then. Above so many bytes the oldest block goes, so that with many VMs the history is shorter.
 */
import type { Sample, VmSample } from "../api/types.js";

const fields = [
  "used",
  "ready",
  "waiting",
  "idle",
  "steal",
  "instructions",
  "io",
  "diskOperations",
  "diskBytes",
  "throttled",
  "diskP50",
  "diskP99",
  "netSent",
  "netReceived",
  "netDropped",
  "netRefused",
  "granted",
  "touched",
  "ballooned",
  "shared",
  "swapped",
  "target",
  "active",
] as const satisfies readonly (keyof VmSample)[];

/** Samples of a block, blocks that are kept (an hour of samples a second apart), and bytes of all of them. */
const [BLOCK, MOST_BLOCKS, MOST_BYTES] = [60, 60, 64 * 2 ** 20];
const VM_BYTES = BLOCK * fields.length * Float64Array.BYTES_PER_ELEMENT;

interface Block {
  readonly times: number[];
  /** Rows of a VM, NaN where it did not run. */
  readonly vms: Map<string, Float64Array>;
}

/** A history. */
export class History {
  private blocks: Block[] = [];

  /** @param mostBytes that its samples may take, but for those of the last minute */
  constructor(private readonly mostBytes = MOST_BYTES) {}

  /** Bytes of the samples that are kept. */
  get bytes(): number {
    return this.blocks.reduce((sum, { vms }) => sum + vms.size * VM_BYTES, 0);
  }

  /** Adds a sample, which is later than those before. */
  add({ at, vms }: Sample): void {
    let block = this.blocks.at(-1);
    if (block === undefined || block.times.length === BLOCK) {
      block = { times: [], vms: new Map() };
      this.blocks.push(block);
    }
    const row = block.times.push(at) - 1;
    for (const [name, sample] of Object.entries(vms)) {
      let rows = block.vms.get(name);
      if (rows === undefined) {
        rows = new Float64Array(BLOCK * fields.length).fill(Number.NaN);
        block.vms.set(name, rows);
      }
      const from = row * fields.length;
      for (let column = 0; column < fields.length; column++) rows[from + column] = sample[fields[column]!];
    }
    while (this.blocks.length > 1 && (this.blocks.length > MOST_BLOCKS || this.bytes > this.mostBytes))
      this.blocks.shift();
  }

  /** Forgets a VM. */
  drop(vm: string): void {
    for (const { vms } of this.blocks) vms.delete(vm);
    this.blocks = this.blocks.filter(({ vms }) => vms.size > 0);
  }

  /** The samples since a time in milliseconds since 1970, each made when it is asked for. */
  *since(from: number): Generator<Sample, void> {
    for (const { times, vms } of [...this.blocks]) {
      for (const [row, at] of times.entries()) if (at >= from) yield { at, vms: samplesOf(vms, row) };
    }
  }
}

function samplesOf(vms: ReadonlyMap<string, Float64Array>, row: number): Record<string, VmSample> {
  const samples: [name: string, sample: VmSample][] = [];
  for (const [name, rows] of vms) {
    const at = row * fields.length;
    if (Number.isNaN(rows[at])) continue;
    const sample: Partial<Record<keyof VmSample, number>> = {};
    for (let column = 0; column < fields.length; column++) sample[fields[column]!] = rows[at + column]!;
    samples.push([name, sample as VmSample]);
  }
  return Object.fromEntries(samples);
}
