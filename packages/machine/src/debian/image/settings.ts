/**
 * What a system image is to be: its settings, what is wrong with them, and the files that say so in the image.
 *
 * Values reach the guest's shell and files that programs parse, hence the strict forms.
 */
import type { InitramfsEntry } from "@hyperfile/devices/image";
import { DebianError } from "../errors.js";
import { agentName } from "../init-script.js";
import type { DebianArchive } from "../sources.js";

/** How much of Debian: what every system has (`required`), or what one expects of Debian, systemd with it (`standard`). */
export const imageVariants = ["required", "standard"] as const;
/** One of {@link imageVariants}. */
export type ImageVariant = (typeof imageVariants)[number];

/** Settings of a system image. */
export interface ImageSettings {
  /** Suite of Debian, such as `trixie`. */
  readonly suite: string;
  readonly variant: ImageVariant;
  /** Bytes of the disk, a multiple of 4096. */
  readonly bytes: number;
  /** Packages beside those of the variant. */
  readonly packages: readonly string[];
  readonly hostname: string;
  /** A user beside root. Neither has a password: both log in at the console, and over SSH by their keys alone. */
  readonly user?: string | undefined;
  /** Lines of `authorized_keys` for the user, or for root where there is none. */
  readonly sshKey?: string | undefined;
}

/** Settings where nothing is said: 4 GiB of Debian trixie. */
export const defaultImageSettings: ImageSettings = {
  suite: "trixie",
  variant: "standard",
  bytes: 4 * 2 ** 30,
  packages: [],
  hostname: "debian",
};

/** A system needs this much, with room for its journal. */
const LEAST_BYTES = 512 * 2 ** 20;
const MOST_BYTES = 2 ** 44;
/** Debian's own rule for users (`NAME_REGEX` of adduser), and the kernel's for the length. */
const userForm = /^[a-z][-a-z0-9_]{0,31}$/;
/** RFC 1123, 2.1: labels of letters, digits and hyphens. */
const hostForm =
  /^(?=.{1,64}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;
/** Debian policy, 5.6.1. */
const packageForm = /^[a-z0-9][a-z0-9+.-]+$/;
/** sshd(8), the format of `authorized_keys`: options are left out, a key and its comment stand. */
const keyForm = /^(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}(?: \P{Cc}*)?$/u;

/**
 * The settings, checked.
 * @throws DebianError `E_IMAGE_SETTING` that names the setting and what it may be
 */
export function checkImageSettings(given: Partial<ImageSettings>): ImageSettings {
  const settings = { ...defaultImageSettings, ...given };
  const { suite, variant, bytes, packages, hostname, user, sshKey } = settings;
  const bad = (what: string): DebianError => new DebianError("E_IMAGE_SETTING", what);
  if (!/^[a-z][a-z0-9-]{1,31}$/.test(suite))
    throw bad(`"${suite}" is no suite of Debian: give a name such as trixie or forky`);
  if (!imageVariants.includes(variant))
    throw bad(`"${variant}" is no variant: there are ${imageVariants.join(", ")}`);
  if (!Number.isSafeInteger(bytes) || bytes % 4096 !== 0 || bytes < LEAST_BYTES || bytes > MOST_BYTES)
    throw bad(`a system image of ${bytes} bytes can't be: give 512M to 16T, a multiple of 4K`);
  for (const name of packages)
    if (!packageForm.test(name))
      throw bad(`"${name}" is no name of a package: small letters, digits, +, - and . are`);
  if (!hostForm.test(hostname))
    throw bad(`"${hostname}" is no hostname: letters, digits and hyphens are, up to 64`);
  if (user !== undefined && !userForm.test(user))
    throw bad(`"${user}" is no user: a small letter, then small letters, digits, - and _, up to 32`);
  if (user === "root") throw bad("root is there anyway: name another user, or leave it out");
  for (const line of sshKey?.trim().split("\n") ?? [])
    if (!keyForm.test(line.trim()))
      throw bad(
        `the SSH key is no public one: its line begins with "${line.slice(0, 20)}"; give the .pub file`,
      );
  // In one order and with nothing beside: images are kept under a digest of their settings.
  return {
    suite,
    variant,
    bytes,
    packages,
    hostname,
    ...(user !== undefined && { user }),
    ...(sshKey !== undefined && { sshKey }),
  };
}

/**
 * Names and apt patterns (apt-patterns(7)) of what is installed; apt adds what that needs. To read its certificates again
 * takes OpenSSL, whenever a package brings some, minutes in a guest: they come only where apt needs them.
 */
export function wantedPackages(
  { variant, packages, sshKey }: ImageSettings,
  archive: DebianArchive,
): readonly string[] {
  return [
    "?priority(required)",
    ...(variant === "standard" ? ["?priority(important)", "systemd-sysv", "dbus", "libpam-systemd"] : []),
    ...(variant === "standard" && archive.uri.startsWith("https:") ? ["ca-certificates"] : []),
    ...(sshKey === undefined ? [] : ["openssh-server"]),
    ...packages,
  ];
}

/** The archive's own security suite, for an image whose archive is Debian's public one. */
const PUBLIC_ARCHIVE = /^https?:\/\/deb\.debian\.org\/debian$/;
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** systemd's unit for the guest agent: where there is no device for sockets it is not started. */
const agentUnit = `[Unit]
Description=Hyperfile guest agent
ConditionPathExists=/dev/vsock

[Service]
ExecStart=/usr/sbin/${agentName}
Restart=always
# What it runs for the host goes on when it is started anew.
KillMode=process

[Install]
WantedBy=multi-user.target
`;
const UNITS = "etc/systemd/system";

/**
 * The files that say in the image what its settings say, and the guest agent; each is laid over what the packages bring.
 */
export function settingsFiles(
  settings: ImageSettings,
  archive: DebianArchive,
  uuid: string,
  agent: Uint8Array,
): InitramfsEntry[] {
  const { suite, hostname } = settings;
  const encoder = new TextEncoder();
  const file = (path: string, text: string): InitramfsEntry => ({
    path,
    kind: "file",
    mode: 0o644,
    bytes: encoder.encode(text),
  });
  const source = (uri: string, suites: string) =>
    `Types: deb\nURIs: ${uri}\nSuites: ${suites}\nComponents: main\nSigned-By: ${KEYRING}\n`;
  const moving = suite === "sid" || suite === "unstable";
  const sources = [
    source(archive.uri, moving ? suite : `${suite} ${suite}-updates`),
    ...(PUBLIC_ARCHIVE.test(archive.uri) && !moving
      ? [source(archive.uri.replace(/debian$/, "debian-security"), `${suite}-security`)]
      : []),
  ];
  const short = hostname.split(".")[0]!;
  const names = short === hostname ? hostname : `${hostname} ${short}`;
  return [
    file("etc/hostname", `${hostname}\n`),
    file(
      "etc/hosts",
      `127.0.0.1\tlocalhost\n127.0.1.1\t${names}\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n`,
    ),
    file("etc/fstab", `UUID=${uuid} / ext4 errors=remount-ro 0 1\n`),
    // By ifupdown where there is a card, by whatever is there instead otherwise (interfaces(5)).
    file(
      "etc/network/interfaces",
      "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\niface eth0 inet6 auto\n",
    ),
    file("etc/apt/sources.list.d/debian.sources", sources.join("\n")),
    // An empty one is filled at the first boot, and so each copy of the image gets its own (machine-id(5)).
    file("etc/machine-id", ""),
    { path: `usr/sbin/${agentName}`, kind: "file", mode: 0o755, bytes: agent },
    file(`${UNITS}/${agentName}.service`, agentUnit),
    // As `systemctl enable` has it.
    {
      path: `${UNITS}/multi-user.target.wants/${agentName}.service`,
      kind: "symlink",
      target: `/${UNITS}/${agentName}.service`,
    },
  ];
}
