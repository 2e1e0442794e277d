/**
 * Who a process is, as text that is used once: its number, when it began, a random number, and the boot and the namespace
 * in which the number means something. So what a killed process left is known as such, however its number is used again.
 */
import { randomInt } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";

/** Fields of /proc/PID/stat after the name in parentheses (proc(5)): state, and the time of the start in ticks. */
const [STATE, START_TIME] = [0, 19];
const IDENTITY = /^(\d+)-(\d+)-\d+-([A-Za-z0-9]*)-(\d*)$/;

/** A new identity of this process: two that it makes differ. */
export const newIdentity = (): string =>
  `${process.pid}-${startTimeOf(process.pid) ?? 0}-${randomInt(2 ** 47)}-${boot()}-${namespace()}`;

/** Whether something is an identity, of whatever process. */
export const isIdentity = (value: unknown): value is string =>
  typeof value === "string" && IDENTITY.test(value);

/** Whether the process of an identity lives, as far as can be seen from here; `unseen` of another namespace. */
export function lifeOf(identity: string): "lives" | "gone" | "unseen" {
  const [, number, start, ofBoot, ofNamespace] = IDENTITY.exec(identity) ?? [];
  if (number === undefined || ofBoot !== boot()) return "gone";
  if (ofNamespace !== namespace()) return "unseen";
  const pid = Number(number);
  const found = startTimeOf(pid);
  if (found !== undefined) return found === start ? "lives" : "gone";
  try {
    process.kill(pid, 0);
    // With /proc, a process that is not to be seen there has ended and not been waited for.
    return text("/proc/self/stat") === "" ? "lives" : "gone";
  } catch (error) {
    // Another user's process, which /proc may hide.
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "lives" : "gone";
  }
}

/** When a process began, in ticks since the boot; undefined if it is not there, or a corpse. */
function startTimeOf(pid: number): string | undefined {
  const stat = text(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return stat === "" || ["Z", "X", "x"].includes(fields[STATE] ?? "") ? undefined : fields[START_TIME];
}

const boot = (): string => text("/proc/sys/kernel/random/boot_id").replace(/[^A-Za-z0-9]/g, "");

function namespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
  } catch {
    return "";
  }
}

/** What a file has; nothing if it is not there, or may not be read. */
function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
