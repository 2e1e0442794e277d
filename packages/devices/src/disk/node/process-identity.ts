/**
 * Who has made a file, in its name: a process, when it began, a random number, and the computer, the boot and the namespace
 * in which the process's number means something. An identity is used once, so that what a killed process left is known as
 * such, however its number is used again.
 */
import { randomInt } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** Fields of /proc/PID/stat after the name in parentheses (proc(5)): state, and the time of the start in ticks. */
const [STATE, START_TIME] = [0, 19];
/** Characters that are kept of the names of a computer and a boot: names of files are short. */
const [HOST_LENGTH, MACHINE_LENGTH, BOOT_LENGTH] = [32, 8, 12];
const IDENTITY = /^(\d+)-(\d+)-[0-9a-z]+-([A-Za-z0-9]*)-([A-Za-z0-9]*)-([A-Za-z0-9]*)-(\d*)$/;

/** A new identity of this process: two that it makes differ. */
export const newIdentity = (): string =>
  [
    process.pid,
    startTimeOf(process.pid) ?? 0,
    randomInt(2 ** 47).toString(36),
    host(),
    machine,
    boot,
    namespace,
  ].join("-");

/** The process of an identity, and whether it is of this computer, since it was started; undefined if the text is none. */
export function processOf(
  identity: string,
): { readonly pid: number; readonly host: string; readonly isHere: boolean } | undefined {
  const [, pid, , host, , ofBoot] = IDENTITY.exec(identity) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), host: host!, isHere: ofBoot === boot };
}

/**
 * Whether the process of an identity lives, as far as can be seen from here; `unseen` of another computer, or of another
 * namespace of this one.
 */
export function lifeOf(identity: string): "lives" | "gone" | "unseen" {
  const [, number, start, ofHost, ofMachine, ofBoot, ofNamespace] = IDENTITY.exec(identity) ?? [];
  if (number === undefined) return "unseen";
  // Of two computers that have one name the machine's identity differs; of one computer nothing lives on from boot to boot.
  if (ofBoot !== boot) return ofHost === host() && ofMachine === machine ? "gone" : "unseen";
  if (ofNamespace !== namespace) return "unseen";
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

/** What a file has; nothing if it is not there, or may not be read. */
function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const clean = (value: string, length: number): string => value.replace(/[^A-Za-z0-9]/g, "").slice(0, length);
const host = (): string => clean(hostname(), HOST_LENGTH);
const machine = clean(text("/etc/machine-id"), MACHINE_LENGTH);
const boot = clean(text("/proc/sys/kernel/random/boot_id"), BOOT_LENGTH);
const namespace = namespaceOf();

function namespaceOf(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
  } catch {
    return "";
  }
}
