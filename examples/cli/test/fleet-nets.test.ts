/**
 * Networks of VMs under a daemon, with Debian: addresses, names, who reaches whom and who does not, forwards, and what becomes of
 * it when VMs are paused, restored, cloned and stopped. Left out where Debian's files were never fetched (`npm start` does).
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { userCacheFolder } from "@hyperfile/machine/debian";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { readPcapng } from "../../../packages/devices/test/pcapng-reader.js";
import { OwnDaemon } from "./own-daemon.js";

const isThere = existsSync(join(userCacheFolder(), "debian-trixie-riscv64", "initramfs.cpio"));
let folder: string;
let daemon: OwnDaemon;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-nets-"));
  await mkdir(join(folder, "state"));
  daemon = await OwnDaemon.start(folder, join(folder, "state"));
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** What a port of this computer answers to a line; undefined if nobody takes the connection. */
const ask = (port: number): Promise<string | undefined> =>
  new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write("hello\n"));
    socket.on("data", (data) => (answer += data)).on("close", () => resolve(answer));
    socket.on("error", () => resolve(undefined));
  });
interface Nic {
  readonly network?: string;
  readonly mac: string;
  readonly address: string;
  readonly forwards: string[];
  readonly counters: Record<string, number>;
}
async function nicsOf(vm: string): Promise<Nic[]> {
  const { output } = await daemon.run("ps", "--json");
  return (JSON.parse(output) as { name: string; nics: Nic[] }[]).find(({ name }) => name === vm)!.nics;
}
const run = (vm: string, command: string) => daemon.run("exec", "--timeout", "100", vm, "sh", "-c", command);
/** A boot may take longer than a command may. */
async function ready(vm: string): Promise<void> {
  for (let attempt = 0; attempt < 6; attempt++) if ((await run(vm, "true")).status === 0) return;
  throw new Error(`${vm} has not come up`);
}
const reaches = async (vm: string, place: string): Promise<number | null> =>
  (await run(vm, `ping -c 2 -W 3 -q ${place} | grep -q ' [12] packets received'`)).status;

it.skipIf(!isThere)(
  "three VMs on a switch have addresses and names, reach each other and what they may, and no other network",
  async () => {
    await writeFile(
      join(folder, "Hyperfile"),
      `name: nets
networks:
  lan: { subnet: 10.7.0.0/24 }
  east: { kind: isolated }
  west: { kind: isolated }
vms:
  a: { kernel: debian, memory: 128M, nics: [lan, east] }
  b: { kernel: debian, memory: 128M, nics: [{ network: lan, address: 10.7.0.9, forwards: ["0:7777"] }, west] }
  c: { kernel: debian, memory: 128M, nics: [lan] }
`,
    );
    expect(await daemon.run("up")).toMatchObject({ status: 0, errors: "" });
    for (const vm of ["a", "b", "c"]) await ready(vm);
    const [[a, east], [b, west], [c]] = await Promise.all(["a", "b", "c"].map(nicsOf));
    expect((await run("b", "ip addr show eth0")).output).toMatch(/inet 10\.7\.0\.9\/24/);
    expect((await run("a", "ip addr show eth0")).output).toContain(`inet ${a!.address}/24`);
    expect([await reaches("a", "b"), await reaches("a", "c"), await reaches("c", a!.address)]).toEqual([
      0, 0, 0,
    ]);

    // Who captures sees each frame of the guests' once, by who has sent it.
    let isCaptured = false;
    const capture = daemon.run("capture", "lan", "lan.pcapng", "--bytes", "8K").finally(() => {
      isCaptured = true;
    });
    while (!isCaptured) await reaches("a", "c");
    expect((await capture).status).toBe(0);
    const pings = readPcapng(await readFile(join(folder, "lan.pcapng")))
      .packets.filter(({ bytes }) => bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 1)
      .map(({ on, bytes }) => `${on} ${bytes[34]}`);
    expect(new Set(pings)).toEqual(new Set(["a 8", "c 0"]));
    const answers = pings.filter((ping) => ping === "c 0").length;
    expect(Math.abs(pings.length - 2 * answers)).toBeLessThanOrEqual(1);

    // Two isolated networks: each has its gateway, which leads nowhere.
    const gateway = (nic: Nic): string => nic.address.replace(/\d+$/, "2");
    for (const [vm, nic] of [
      ["a", east!],
      ["b", west!],
    ] as const)
      await run(vm, `ip link set eth1 up; ip addr add ${nic.address}/24 dev eth1`);
    expect(await reaches("a", gateway(east!))).toBe(0);
    await run("a", `ip route add ${west!.address}/32 via ${gateway(east!)}`);
    expect(await reaches("a", west!.address)).toBe(1);
    await run("a", `ip route del ${west!.address}/32; ip route add ${west!.address}/32 dev eth1`);
    expect(await reaches("a", west!.address)).toBe(1);

    // Forwards, and what is refused.
    const serve = "nc -l -p 7777 -e sh -c 'read -r line; echo heard $line'";
    const port = Number(b!.forwards[0]!.split(":")[1]);
    const served = run("b", serve);
    await vi.waitFor(async () => expect(await ask(port)).toBe("heard hello\n"), {
      timeout: 60_000,
      interval: 500,
    });
    await served;
    expect(await run("a", "nc -w 5 169.254.169.254 80 < /dev/null")).toMatchObject({ status: 1 });
    expect((await daemon.run("events", "a")).output).toContain(
      'vm.refused a it may not reach tcp 169.254.169.254:80: policy: { allow: ["169.254.169.254:80"] } of its card lets it',
    );
    await vi.waitFor(async () => expect((await nicsOf("a"))[0]!.counters.refused).toBe(1), {
      timeout: 10_000,
    });

    // Forwards at run time.
    const added = (await daemon.run("forward", "c", "add", "0:9")).output.trim();
    expect(added).toMatch(/^127\.0\.0\.1:\d+:9$/);
    expect((await daemon.run("forward", "c")).output).toBe(`${added}\n`);
    expect((await daemon.run("ps", "--nics")).output).toContain(added);
    expect((await daemon.run("forward", "c", "add", `${port}:9`)).errors).toBe(
      `hyperfile: port ${port} of 127.0.0.1 is taken: choose another one, or 0 for any\n`,
    );
    expect(await daemon.run("forward", "c", "remove", added)).toMatchObject({ status: 0, errors: "" });
    expect((await daemon.run("forward", "c")).output).toBe("");
    expect(await ask(Number(added.split(":")[1]))).toBeUndefined();

    // A VM that is paused takes nothing and costs nobody; one that was restored is there again.
    expect((await daemon.run("snapshot", "b", "s")).errors).toBe("");
    expect((await daemon.run("pause", "b")).errors).toBe("");
    expect([await reaches("a", "b"), await reaches("a", "c")]).toEqual([1, 0]);
    expect((await daemon.run("restore", "b", "s")).errors).toBe("");
    expect(await reaches("a", "b")).toBe(0);
    const again = run("b", serve);
    await vi.waitFor(async () => expect(await ask(port)).toBe("heard hello\n"), {
      timeout: 60_000,
      interval: 500,
    });
    await again;

    // A clone's guest is told its own addresses by its agent.
    expect((await daemon.run("clone", "c", "twin")).errors).toBe("");
    const [twin] = await nicsOf("twin");
    expect([twin!.mac === c!.mac, twin!.address === c!.address]).toEqual([false, false]);
    await expect
      .poll(async () => (await run("twin", "ip addr show eth0")).output, { timeout: 120_000 })
      .toContain(`inet ${twin!.address}/24`);
    expect([await reaches("twin", "c"), await reaches("c", "twin"), await reaches("c", "b")]).toEqual([
      0, 0, 0,
    ]);

    expect((await daemon.run("stop", "b", "--force")).errors).toBe("");
    expect(await ask(port)).toBeUndefined();
    expect((await run("a", "ping -c 1 b")).errors).toContain("bad address");
  },
  900_000,
);

it("forwards that were added by hand stay when the file is read again, and those of the file are followed", async () => {
  const place = join(folder, "by-hand");
  await mkdir(place);
  const file = join(place, "Hyperfile");
  const write = (forwards: string) =>
    writeFile(
      file,
      `name: by-hand\nnetworks: { lan: }\nvms: { f: { kernel: embedded, nics: [{ network: lan, forwards: [${forwards}] }] } }\n`,
    );
  const up = async () => (await daemon.run("up", file)).output;
  const forwards = async () => (await daemon.run("forward", "f")).output.split("\n").filter(Boolean);
  const startedAt = async () => {
    const vms = JSON.parse((await daemon.run("ps", "--json")).output) as {
      name: string;
      startedAt: number;
    }[];
    return vms.find(({ name }) => name === "f")!.startedAt;
  };
  await write('"0:7"');
  expect(await up()).toMatch(/^ +f started$/m);
  const started = await startedAt();
  const added = (await daemon.run("forward", "f", "add", "0:9")).output.trim();
  expect(await up()).toMatch(/^ +f unchanged$/m);
  const [own, hand, ...more] = await forwards();
  expect([own, hand, more]).toEqual([expect.stringMatching(/:7$/), added, []]);
  await write('"0:7", "0:8"');
  expect(await up()).toMatch(/^ +f changed: forwards$/m);
  expect(await forwards()).toEqual([own, added, expect.stringMatching(/^127\.0\.0\.1:\d+:8$/)]);
  await write("");
  expect(await up()).toMatch(/^ +f changed: forwards$/m);
  expect([await forwards(), await startedAt()]).toEqual([[added], started]);
  expect(await daemon.run("down", file)).toMatchObject({ status: 0, errors: "" });
});
