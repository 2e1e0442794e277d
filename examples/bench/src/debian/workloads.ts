/**
 * What the guest's real programs do: a fixed amount of work each, a few seconds under QEMU, whose result is known
 * before: computed here where Node's own cryptography can, else recorded from the same program on other machines.
 */
import { createCipheriv, createHash, createPrivateKey, sign } from "node:crypto";
import { BenchError } from "../errors.js";

/** What all work is done on. */
export interface Inputs {
  /** The sample text. */
  readonly text: Uint8Array;
  /** A short message to sign. */
  readonly message: Uint8Array;
  /** An RSA key, PKCS #8 in PEM. */
  readonly privateKey: string;
}

/** A program's work. */
export interface Workload {
  readonly name: string;
  /** What it does, in a few words. */
  readonly about: string;
  /**
   * Shell commands that do the work: the measured part. Standard output goes to `output`. Programs go by their path,
   * since busybox's shell prefers its own of the same name.
   */
  readonly work: string;
  /** Whether it runs only when it is named, since it takes a minute. */
  readonly isLong?: boolean;
  /** Shell commands that print the result, not measured; by default what the work printed. */
  readonly result?: string;
  /** The lines of the right result. */
  expected(inputs: Inputs): readonly string[];
}

/** The packages that hold the programs; those that they need come with them. */
export const packages: readonly string[] = [
  "7zip",
  "openssl",
  "xz-utils",
  "gzip",
  "sqlite3",
  "lua5.4",
  "python3.13-minimal",
];

/** Key and initial vector of the ciphers, in hexadecimal. */
const CIPHER_KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CIPHER_VECTOR = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const DIGEST_PASSES = 10;
const CIPHER_PASSES = 4;
const SIGNATURES = 8;

const digest = (algorithm: string, bytes: Uint8Array): string =>
  createHash(algorithm).update(bytes).digest("hex");

function encrypted(algorithm: string, bytes: Uint8Array): Uint8Array {
  const cipher = createCipheriv(algorithm, Buffer.from(CIPHER_KEY, "hex"), Buffer.from(CIPHER_VECTOR, "hex"));
  return Buffer.concat([cipher.update(bytes), cipher.final()]);
}

const repeat = (text: string, times: number): string => Array<string>(times).fill(text).join(" ");
const digestOfCopy = "sha256sum < copy | cut -c 1-64";
const textDigest = ({ text }: Inputs): readonly string[] => [digest("sha256", text)];
const cipher = (name: string) => `/usr/bin/openssl enc -${name} -K ${CIPHER_KEY} -iv ${CIPHER_VECTOR}`;

/** Iterations of the suite's program, and the checksum that it prints after them on every machine. */
export const linuxProgramWork = { name: "integer-mix", iterations: 30_000, checksum: "db48aee1" } as const;

/** All work, in the order of the table. */
export const workloads: readonly Workload[] = [
  {
    name: "7zip",
    about: "7za: pack and unpack with LZMA2",
    work: "/usr/bin/7za a -mmt1 -mx5 -bso0 -bsp0 text.7z /bench/text && /usr/bin/7za x -so -bsp0 text.7z > copy",
    result: digestOfCopy,
    expected: textDigest,
  },
  {
    name: "7zip-bench",
    about: "7za b: its own benchmark, checked by itself; takes a minute",
    isLong: true,
    work: "/usr/bin/7za b 1 -mmt1 -md18",
    result: "grep -c '^Tot:' output",
    expected: () => ["1"],
  },
  {
    name: "xz",
    about: "xz -6 and back",
    work: "/usr/bin/xz -6 -T1 -c /bench/text > text.xz && /usr/bin/xz -dc text.xz > copy",
    result: digestOfCopy,
    expected: textDigest,
  },
  {
    name: "gzip",
    about: "gzip -9 and back, eight times",
    work: "for pass in 1 2 3 4 5 6 7 8; do /usr/bin/gzip -9 -n -c /bench/text > text.gz && /usr/bin/gzip -dc text.gz > copy; done",
    result: digestOfCopy,
    expected: textDigest,
  },
  {
    name: "openssl-digest",
    about: "openssl dgst: SHA-256 and SHA-512",
    work: ["sha256", "sha512"]
      .map((name) => `/usr/bin/openssl dgst -${name} -r ${repeat("/bench/text", DIGEST_PASSES)}`)
      .join(" && "),
    result: "cut -d ' ' -f 1 output | uniq",
    expected: ({ text }) => [digest("sha256", text), digest("sha512", text)],
  },
  {
    name: "openssl-cipher",
    about: "openssl enc: AES-256-CBC and ChaCha20, and back",
    work: `for pass in ${repeat("pass", CIPHER_PASSES)}; do ${["aes-256-cbc", "chacha20"]
      .map(
        (name) => `${cipher(name)} -in /bench/text -out ${name} && ${cipher(name)} -d -in ${name} -out copy`,
      )
      .join(" && ")}; done`,
    result: "sha256sum aes-256-cbc chacha20 copy | cut -c 1-64",
    expected: ({ text }) => [
      digest("sha256", encrypted("aes-256-cbc", text)),
      digest("sha256", encrypted("chacha20", text)),
      digest("sha256", text),
    ],
  },
  {
    name: "openssl-rsa",
    about: "openssl dgst: sign and verify with RSA, a process each",
    work: `for pass in ${repeat("pass", SIGNATURES)}; do /usr/bin/openssl dgst -sha256 -sign /bench/key -out signature /bench/message && /usr/bin/openssl dgst -sha256 -prverify /bench/key -signature signature /bench/message; done`,
    result: "uniq -c output | sed 's/^ *//'; sha256sum < signature | cut -c 1-64",
    expected: ({ message, privateKey }) => [
      `${SIGNATURES} Verified OK`,
      digest("sha256", sign("sha256", message, createPrivateKey(privateKey))),
    ],
  },
  {
    name: "sqlite3",
    about: "inserts, an index, joins and updates",
    work: "/usr/bin/sqlite3 database < /bench/work.sql",
    expected: () => [
      "memory",
      "rows|50000|250163501",
      "join|772486627056",
      "updated|250180167",
      "groups|12005714905",
      "names|1355|item-000071|item-049971",
      "pairs|49980",
      "left|25000|275000",
      "ok",
    ],
  },
  {
    name: "lua",
    about: "queens, flips, primes and words",
    work: "/usr/bin/lua5.4 /bench/work.lua",
    expected: () => ["queens 92", "flips 22", "primes 25997", "words 500 8271655a"],
  },
  {
    name: "python",
    about: "planets, primes, words and queens",
    work: "PYTHONHASHSEED=0 /usr/bin/python3.13 -S /bench/work.py",
    expected: () => ["planets 0.4264222718175992", "primes 25997", "words 500 89e402f0", "queens 40"],
  },
  {
    name: "integer-mix",
    about: "the suite's program as a Linux process",
    work: "/bench/integer-mix",
    result: "sed 's/.*checksum=//' output",
    expected: () => [linuxProgramWork.checksum],
  },
];

/**
 * The work that a comma-separated list names; all but the long ones for an undefined one.
 * @throws BenchError `E_USAGE` for a name that is none
 */
export function selectWorkloads(list: string | undefined): readonly Workload[] {
  if (list === undefined) return workloads.filter(({ isLong }) => !isLong);
  return list.split(",").map((name) => {
    const found = workloads.find((candidate) => candidate.name === name.trim());
    if (found !== undefined) return found;
    const known = workloads.map((candidate) => candidate.name).join(", ");
    throw new BenchError("E_USAGE", `there is no Debian program ${name.trim()}; there are ${known}`);
  });
}
