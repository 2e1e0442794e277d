/**
 * The host-target interface of Berkeley's tools, by which bare-metal test programs end and print: a word `tohost`
 * that the program writes and a word `fromhost` that it waits on (riscv-isa-sim, htif).
 */

/** Guest memory as the interface sees it. */
interface Memory {
  read(gpa: number, target: Uint8Array): boolean;
  write(gpa: number, source: Uint8Array): boolean;
}

const DEVICE_SYSTEM = 0n;
const DEVICE_CONSOLE = 1n;
const COMMAND_WRITE = 1n;
const BYTES = 8;

/** Looks at a program's `tohost` between slices. */
export class Htif {
  private readonly word = new Uint8Array(BYTES);
  private readonly view = new DataView(this.word.buffer);

  /**
   * @param tohost guest-physical address of the program's word
   * @param fromhost of the word that it waits on, if it has one
   * @param print takes bytes that the program prints
   * @param exit takes the program's exit code
   */
  constructor(
    private readonly memory: Memory,
    private readonly tohost: number,
    private readonly fromhost: number | undefined,
    private readonly print: (bytes: Uint8Array) => void,
    private readonly exit: (code: number) => void,
  ) {}

  /** Serves a request if there is one. */
  poll(): void {
    if (!this.memory.read(this.tohost, this.word)) return;
    const request = this.view.getBigUint64(0, true);
    if (request === 0n) return;
    const device = request >> 56n;
    if (device === DEVICE_SYSTEM && (request & 1n) === 1n) {
      this.exit(Number(BigInt.asIntN(31, request >> 1n)));
      return;
    }
    this.memory.write(this.tohost, new Uint8Array(BYTES));
    if (device !== DEVICE_CONSOLE || ((request >> 48n) & 0xffn) !== COMMAND_WRITE) return;
    this.print(Uint8Array.of(Number(request & 0xffn)));
    if (this.fromhost === undefined) return;
    this.view.setBigUint64(0, (DEVICE_CONSOLE << 56n) | (COMMAND_WRITE << 48n), true);
    this.memory.write(this.fromhost, this.word);
  }
}
