/**
 * The initial file system of the Debian guest: busybox, the kernel modules that a virtual machine can need,
 * the index files for `modprobe` (which the kernel runs by itself for file systems and ciphers), the guest agent, and
 * `/init`. Stored uncompressed: the guest's processor is the slow one here.
 */
import type { InitramfsEntry } from "@hyperfile/devices/image";
import { agentName, initScript, leaseScript, leaseScriptPath, profile } from "./init-script.js";
import { type KernelModule, loadOrder, modulesAlias, modulesDep } from "./modules.js";

/** What goes into the file system. */
export interface InitramfsParts {
  /** The statically linked busybox program. */
  busybox: Uint8Array;
  /** The kernel's release, as `uname -r` prints it. */
  release: string;
  /** The modules, in any order. */
  modules: readonly KernelModule[];
  /** The guest agent. */
  agent: Uint8Array;
}

/** The modules that the guest gets, by name, with those that they are known to need. */
export const guestModules: readonly string[] = [
  "virtio_mmio",
  "virtio_rng",
  "virtio_balloon",
  "virtio_blk",
  "failover",
  "net_failover",
  "virtio_net",
  "vsock",
  "vmw_vsock_virtio_transport_common",
  "vmw_vsock_virtio_transport",
  "crc16",
  "mbcache",
  "jbd2",
  "crc32c_generic",
  "ext4",
  "netfs",
  "9pnet",
  "9pnet_virtio",
  "9p",
  "overlay",
  "squashfs",
];

/** The folders that `/init` and the programs expect. */
const folders = [
  "bin",
  "dev",
  "etc",
  "lib",
  "lib/modules",
  "mnt",
  "proc",
  "root",
  "run",
  "sbin",
  "sys",
  "tmp",
  "usr",
  "usr/bin",
  "usr/sbin",
  "var",
];

const textEncoder = new TextEncoder();

/** All entries of the file system, each folder before what it holds. */
export function initramfsEntries(parts: InitramfsParts): InitramfsEntry[] {
  const { busybox, release, modules, agent } = parts;
  const ordered = loadOrder(modules);
  const base = `lib/modules/${release}`;
  const text = (path: string, content: string, mode = 0o644): InitramfsEntry => ({
    path,
    kind: "file",
    mode,
    bytes: textEncoder.encode(content),
  });
  const moduleFolders = new Set<string>([base]);
  for (const { path } of ordered) {
    const steps = path.split("/").slice(0, -1);
    for (let depth = 1; depth <= steps.length; depth++) {
      moduleFolders.add(`${base}/${steps.slice(0, depth).join("/")}`);
    }
  }
  return [
    ...[...folders, ...moduleFolders].map(
      (path): InitramfsEntry => ({ path, kind: "directory", mode: path === "tmp" ? 0o1777 : 0o755 }),
    ),
    { path: "bin/busybox", kind: "file", mode: 0o755, bytes: busybox },
    { path: `sbin/${agentName}`, kind: "file", mode: 0o755, bytes: agent },
    text("init", initScript, 0o755),
    text(leaseScriptPath, leaseScript, 0o755),
    text("etc/hostname", "hyperfile\n"),
    text("etc/passwd", "root::0:0:root:/root:/bin/sh\n"),
    text("etc/group", "root:x:0:\n"),
    text("etc/profile", profile),
    { path: "etc/mtab", kind: "symlink", target: "/proc/mounts" },
    ...ordered.map(
      ({ path, bytes }): InitramfsEntry => ({ path: `${base}/${path}`, kind: "file", mode: 0o644, bytes }),
    ),
    text(`${base}/modules.dep`, modulesDep(ordered)),
    text(`${base}/modules.alias`, modulesAlias(ordered)),
  ];
}
