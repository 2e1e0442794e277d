/**
 * The scripts of the machine that builds a system image, for busybox's shell. Drive 0 is the image's disk, empty; drive 1
 * is a tar archive of the files of all packages that are laid out; drive 2 has the packages that dpkg unpacks, one behind
 * the other, so that the scripts find each by its place. What is read from a drive is read by who needs it, not through
 * a pipe: two processes that wait for each other switch address spaces all the time, which costs a guest's TLB.
 *
 * Of a package that has no script before unpacking the state after it is known (see `unpacked-state.ts`): it is laid out,
 * with that state, and dpkg only configures it. Of the others those that every system has are laid out as well, without
 * any state, as debootstrap does: that gives a system in which dpkg runs, and unpacks them again.
 *
 * `/init` runs `/build` and turns the machine off, whatever comes; each line that begins with {@link BUILD_MARK} is for
 * `build-log.ts`, and all others are for who looks for a fault.
 */
import type { InstallBatch } from "./install-plan.js";
import type { ImageSettings } from "./settings.js";

/** The start of each line that is meant for the builder. */
export const BUILD_MARK = "hyperfile-build:";

/** Bytes of a block: each package begins at one. The larger, the fewer system calls. */
export const PACKAGE_BLOCK = 65536;
/** KiB of the drives' content that the kernel reads ahead. */
const READ_AHEAD = 1024;

/** A package on drive 2. */
export interface PlacedPackage {
  readonly name: string;
  /** Bytes from the start of the drive, a multiple of {@link PACKAGE_BLOCK}. */
  readonly offset: number;
  readonly bytes: number;
}

/** What is done. */
export interface BuildPlan {
  readonly settings: ImageSettings;
  /** UUID of the file system. */
  readonly uuid: string;
  readonly batches: readonly InstallBatch<PlacedPackage>[];
}

/** The folder of the new system, in the builder. */
const TARGET = "/target";
/** Where mke2fs and its libraries lie in the builder. */
export const MKE2FS_FOLDER = "mke2fs";
/** Where the files of the settings lie in the builder, and those of dpkg's database. */
export const SETTINGS_FOLDER = "settings";
export const DATABASE_FOLDER = "database";

/** The first process. */
export const builderInit = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s
mkdir -p /dev/pts
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
echo 4 > /proc/sys/kernel/printk
stty -opost
sh -e /build 2>&1 < /dev/null
echo "${BUILD_MARK} end $?"
poweroff -f
`;

/** The script that builds. */
export function buildScript({ settings, uuid, batches }: BuildPlan): string {
  const { user, sshKey } = settings;
  const lines: string[] = [];
  const step = (what: string, ...commands: string[]) =>
    lines.push(`echo "${BUILD_MARK} step ${what}"`, ...commands);
  const take = ({ offset, bytes }: PlacedPackage, number: number) =>
    `take ${number} ${offset / PACKAGE_BLOCK} ${Math.ceil(bytes / PACKAGE_BLOCK)} ${bytes}`;

  lines.push(`set -o pipefail
packages=${TARGET}/run/packages
take() {
  dd if=/dev/vdc of=$packages/$1.deb bs=${PACKAGE_BLOCK} skip=$2 count=$3 2> /dev/null
  truncate -s $4 $packages/$1.deb
}
inside() {
  chroot ${TARGET} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \\
    DPKG_COLORS=never DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true INITRD=No "$@"
}
install="dpkg --force-depends --force-unsafe-io --force-confnew"`);
  step(
    "make the file system",
    "modprobe virtio_mmio",
    "modprobe virtio_blk",
    "modprobe ext4",
    `for drive in vdb vdc; do echo ${READ_AHEAD} > /sys/block/$drive/queue/read_ahead_kb; done`,
    `/${MKE2FS_FOLDER}/ld.so --library-path /${MKE2FS_FOLDER} /${MKE2FS_FOLDER}/mke2fs -q -F -t ext4 -L ${labelOf(settings)} -U ${uuid} -E assume_storage_prezeroed=1,hash_seed=${uuid} /dev/vda`,
    `mkdir -p ${TARGET}`,
    // A build that is cut off leaves no image, so that nothing has to be on the disk before all of it is.
    `mount -t ext4 -o noatime,nobarrier,noauto_da_alloc,data=writeback /dev/vda ${TARGET}`,
    `mkdir -p ${TARGET}/run`,
    `mount -t tmpfs -o mode=755 tmpfs ${TARGET}/run`,
    "mkdir $packages",
  );
  // The archive's folders have the modes that the system has; those of the builder do not count.
  step("lay out packages", `tar -x -f /dev/vdb -C ${TARGET}`);
  step(
    "prepare the new system",
    `cp -a /${DATABASE_FOLDER}/. ${TARGET}/`,
    // What the scripts of the first packages call has to be there before dpkg has configured who brings it.
    `[ -L ${TARGET}/usr/bin/awk ] || ln -s mawk ${TARGET}/usr/bin/awk`,
    `[ -e ${TARGET}/etc/passwd ] || cp ${TARGET}/usr/share/base-passwd/passwd.master ${TARGET}/etc/passwd`,
    `[ -e ${TARGET}/etc/group ] || cp ${TARGET}/usr/share/base-passwd/group.master ${TARGET}/etc/group`,
    `printf '#!/bin/sh\\nexit 101\\n' > ${TARGET}/usr/sbin/policy-rc.d`,
    `chmod 755 ${TARGET}/usr/sbin/policy-rc.d`,
    `mount -t proc proc ${TARGET}/proc`,
    `mount -t sysfs sysfs ${TARGET}/sys`,
    `mount -o bind /dev ${TARGET}/dev`,
    `mount -t devpts devpts ${TARGET}/dev/pts`,
    `cp -a /${SETTINGS_FOLDER}/. ${TARGET}/`,
  );
  batches.forEach(({ groups, configure }, index) => {
    const isLast = index === batches.length - 1;
    const part = batches.length === 1 ? "" : ` (part ${index + 1} of ${batches.length})`;
    for (const group of groups) {
      step(
        `unpack packages${part}`,
        // dpkg says of a damaged package only the name of its file.
        `echo "${BUILD_MARK} group ${group.map(({ name }) => name).join(" ")}"`,
        ...group.map(take),
        `inside $install --unpack ${group.map((_, number) => `/run/packages/${number}.deb`).join(" ")}`,
        "rm $packages/*",
      );
    }
    if (isLast || configure.length > 0)
      step(
        `configure packages${part}`,
        `inside $install --configure ${isLast ? "--pending" : configure.join(" ")}`,
      );
  });
  step(
    "finish the system",
    `rm ${TARGET}/usr/sbin/policy-rc.d`,
    `cp -a /${SETTINGS_FOLDER}/. ${TARGET}/`,
    // Without a package that has the running kernel's modules, the builder's own do.
    `[ -e ${TARGET}/usr/lib/modules/$(uname -r) ] || { mkdir -p ${TARGET}/usr/lib/modules; cp -a /lib/modules/$(uname -r) ${TARGET}/usr/lib/modules/; }`,
    "inside passwd -q -d root",
    ...(user === undefined
      ? []
      : [
          `inside useradd --create-home --shell /bin/bash ${user}`,
          `inside passwd -q -d ${user}`,
          `for group in sudo adm systemd-journal; do grep -q "^$group:" ${TARGET}/etc/group && inside usermod --append --groups $group ${user} || true; done`,
        ]),
    ...(sshKey === undefined ? [] : [authorize(user)]),
    `inside dpkg --audit > ${TARGET}/run/audit`,
    `[ ! -s ${TARGET}/run/audit ] || { cat ${TARGET}/run/audit; false; }`,
    // Each copy of the image gets its own at its first boot; D-Bus's would be taken for it (machine-id(5)).
    `rm -f ${TARGET}/var/lib/dbus/machine-id`,
    `rm -rf ${TARGET}/var/cache/debconf/*-old ${TARGET}/var/lib/dpkg/*-old ${TARGET}/var/lib/systemd/random-seed`,
  );
  step(
    "write the disk",
    `umount ${TARGET}/dev/pts ${TARGET}/dev ${TARGET}/sys ${TARGET}/proc ${TARGET}/run`,
    `umount ${TARGET}`,
    "sync",
  );
  return `${lines.join("\n")}\n`;
}

/** Where the key of the settings lies in the builder. */
export const KEY_FILE = "authorized_keys";

function authorize(user: string | undefined): string {
  const home = user === undefined ? "/root" : `/home/${user}`;
  const owner = user ?? "root";
  return [
    `mkdir -p -m 700 ${TARGET}${home}/.ssh`,
    `cp /${KEY_FILE} ${TARGET}${home}/.ssh/authorized_keys`,
    `chmod 600 ${TARGET}${home}/.ssh/authorized_keys`,
    `inside chown -R ${owner}: ${home}/.ssh`,
  ].join("\n");
}

/** ext4 labels have at most 16 bytes. */
const labelOf = ({ suite }: ImageSettings): string => `debian-${suite}`.slice(0, 16);
