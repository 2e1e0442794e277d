/** A VM's console log: a file that is renamed to `.1` when it has reached its size, so that a flood fills no disk. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/** A log. Writing is synchronous: what a VM printed before a crash of the daemon is there. */
export class ConsoleLog {
  private file: number | undefined;
  private bytes = 0;

  /**
   * @param path of the file; its folder is made when it is needed
   * @param most bytes of one file
   */
  constructor(
    readonly path: string,
    private readonly most: number,
  ) {}

  write(bytes: Uint8Array): void {
    if (this.file === undefined) {
      mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
      this.file = openSync(this.path, "a", 0o600);
      this.bytes = statSync(this.path).size;
    }
    if (this.bytes >= this.most) this.rotate();
    writeSync(this.file, bytes);
    this.bytes += bytes.length;
  }

  /** The last bytes of the log, of the file before too if they reach back that far. */
  tail(bytes: number): Uint8Array {
    const parts = [`${this.path}.1`, this.path]
      .filter((path) => existsSync(path))
      .map((path) => readFileSync(path));
    const whole = Buffer.concat(parts);
    return new Uint8Array(whole.subarray(Math.max(0, whole.length - bytes)));
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }

  private rotate(): void {
    closeSync(this.file!);
    renameSync(this.path, `${this.path}.1`);
    this.file = openSync(this.path, "a", 0o600);
    this.bytes = 0;
  }
}
