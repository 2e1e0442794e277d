/**
 * Machines in other people's pages, as docs/guide/embedding.md has it: the files of the machine package as they are built,
 * from a static folder, under a policy without `unsafe-eval`.
 */
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { riscvVirt } from "@hyperfile/machine";
import { encodeMachine, restoreMachine, zstdCodec } from "@hyperfile/machine/snapshot";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { missingBrowser } from "./browser.js";
import { type Api, EmbedSite, element, guest, guide, PATIENCE } from "./embed-site.js";

describe.skipIf(missingBrowser !== undefined)(
  `machines in other pages${missingBrowser === undefined ? "" : ` (skipped: ${missingBrowser})`}`,
  () => {
    let site: EmbedSite;

    beforeAll(async () => {
      site = await EmbedSite.start();
    });
    afterEach(() => {
      expect(site.browser.complaints.splice(0)).toEqual([]);
    });
    afterAll(async () => {
      await site?.close();
    });

    it("is an element in a static page: it boots, answers, pauses, and is saved; another one goes on from there", async () => {
      const one = await site.open("index", /^```html\n(.*?)^```$/ms.exec(guide)![1]!);
      await one.shows(/guest#$/m);
      await one.type("echo answer\n");
      await one.shows(/^answer$/m);
      await one.type("echo never pressed");
      await one.shows(/never pressed$/m);
      await one.press("Pause");
      await one.is("paused");
      const saved = await one.save();
      await one.press("Resume");
      await one.is("running");
      await one.page.close();

      await writeFile(join(site.files, "saved.snapshot"), saved);
      const other = await site.open("other", element('snapshot="saved.snapshot" autostart'));
      await other.is("running");
      await other.type("\n");
      await other.shows(/^never pressed$/m);
      expect(await other.rows()).not.toContain("Hyperfile guest");
      await other.page.close();

      // It is a snapshot as every other: Node's machines take it, and what they save goes on in a page.
      let printed = "";
      const machine = riscvVirt({
        ramBytes: 64 * 2 ** 20,
        console: { write: (bytes) => void (printed += Buffer.from(bytes).toString()) },
      });
      const codec = await zstdCodec();
      restoreMachine(saved, machine.state, codec);
      const run = machine.run();
      machine.receive(Buffer.from("\necho and in Node"));
      await expect.poll(() => printed, { timeout: PATIENCE }).toMatch(/\nnever pressed\r\n.*and in Node$/s);
      machine.pause();
      machine.board.flush();
      await writeFile(join(site.files, "node.snapshot"), encodeMachine(machine.state, codec).pieces);
      machine.stop("saved");
      await run;
      const last = await site.open("last", element('snapshot="node.snapshot" autostart'));
      await last.is("running");
      await last.type("\n");
      await last.shows(/^and in Node$/m);
      await last.page.close();
    });

    it("tells states, output and the end by events that bubble, and reflects its state", async () => {
      const page = await site.open("events", '<p id="place"></p>');
      await page.page.evaluate(() => {
        const told: string[] = [];
        Object.assign(window, { told });
        const decoder = new TextDecoder();
        for (const name of ["state", "end"])
          document.addEventListener(name, (event) =>
            told.push(`${name} ${JSON.stringify((event as CustomEvent).detail)}`),
          );
        let text = "";
        document.addEventListener("output", (event) => {
          text += decoder.decode((event as CustomEvent).detail);
          if (/guest# $/.test(text)) document.body.dataset.prompts = String(text.split("guest# ").length - 1);
        });
      });
      await page.page.addScriptTag({ type: "module", url: "hyperfile/web-element.js" });
      await page.page.evaluate(() => {
        const machine = document.createElement("hyperfile-machine");
        machine.setAttribute("kernel", "guest64.elf");
        document.querySelector("#place")!.append(machine);
      });
      await page.is("off");
      await page.press("Start");
      await page.page.locator("body[data-prompts='1']").waitFor({ timeout: PATIENCE });
      await page.press("Reset");
      await page.page.locator("body[data-prompts='2']").waitFor({ timeout: PATIENCE });
      await page.type("poweroff\n");
      await page.is("off");
      const told = () => page.page.evaluate(() => (window as unknown as { told: string[] }).told);
      await expect.poll(told).toHaveLength(6);
      expect(await told()).toEqual([
        'state "starting"',
        'state "running"',
        'state "starting"',
        'state "running"',
        'state "off"',
        'end {"kind":"off","status":0}',
      ]);
      await page.press("Start");
      await page.is("running");
      await page.shows(/guest#$/m);
      await page.page.close();
    });

    it("is held while the page does not take what it prints", async () => {
      const page = await site.open("flood", '<script type="module" src="api.js"></script>');
      const flood = await page.page.evaluate(async () => {
        const { startMachine } = window as unknown as Api;
        const machine = await startMachine({ kernel: "guest64.elf" });
        await machine.waitFor("guest# ");
        let bytes = 0;
        let take = (): void => {};
        const taken = new Promise<void>((resolve) => {
          take = resolve;
        });
        machine.addEventListener("output", (event) => {
          bytes += event.detail.length;
          event.waitUntil(taken);
        });
        const ran = async () => (await machine.statistics()).guestInstructions as number;
        await machine.type("help\n".repeat(3000));
        let [before, still] = [-1, 0];
        while (still < 5) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          const now = await ran();
          still = now === before ? still + 1 : 0;
          before = now;
        }
        const ahead = bytes;
        take();
        while (bytes < 4 * ahead) await new Promise((resolve) => setTimeout(resolve, 20));
        machine.close();
        return { ahead, state: machine.state };
      });
      expect(flood.ahead).toBeGreaterThan(131_072);
      expect(flood.ahead).toBeLessThan(400_000);
      expect(flood.state).toBe("off");
      await page.page.close();
    });

    it("begins again from its files, running or off; a guest that reboots finds what it was given to boot", async () => {
      const page = await site.open("again", '<script type="module" src="api.js"></script>');
      const found = await page.page.evaluate(async () => {
        const { startMachine } = window as unknown as Api;
        const kernel = new Uint8Array(await (await fetch("guest64.elf")).arrayBuffer());
        const machine = await startMachine({ kernel, memory: 32 * 2 ** 20 });
        const ends: unknown[] = [];
        machine.addEventListener("end", ({ detail }) => ends.push(detail));
        const ended = () =>
          new Promise((resolve) => machine.addEventListener("end", resolve, { once: true }));
        const boots: string[] = [];
        const booted = async () => boots.push((await machine.waitFor("guest# ")).trim().split("\r\n")[0]!);
        await booted();
        for (let times = 0; times < 3; times++) {
          await machine.reset();
          await booted();
        }
        await machine.pause();
        const snapshot = await machine.save();
        await machine.reset();
        await booted();
        await machine.stop();
        await machine.stop();
        const refused = await machine.type("x").catch(({ code }) => code);
        await machine.reset();
        await booted();
        const off = ended();
        await machine.type("poweroff 3\n");
        await off;
        const never = await machine.waitFor(/printed/).catch(({ code, message }) => `${code} ${message}`);
        machine.close();
        const closed = await machine.reset().catch(({ code }) => code);

        const reboots: string[] = [];
        for (const options of [{ snapshot }, { snapshot, kernel }]) {
          const twin = await startMachine(options);
          const end = new Promise<string>((resolve) =>
            twin.addEventListener("end", ({ detail }) => resolve(JSON.stringify(detail)), { once: true }),
          );
          await twin.type("reboot\n");
          reboots.push(
            await Promise.race([
              end,
              twin.waitFor("Hyperfile guest").then(
                () => "it boots",
                () => end,
              ),
            ]),
          );
          await twin.reset();
          await twin.type("echo from the snapshot\n");
          await twin.waitFor("\nfrom the snapshot\r\n");
          twin.close();
        }
        return { boots, ends, refused, never, closed, length: kernel.length, reboots };
      });
      expect(found.boots).toHaveLength(6);
      for (const line of found.boots) expect(line).toMatch(/^Hyperfile guest: RV64 Sv39, 32 MiB/);
      expect(found.ends).toEqual([
        { kind: "stopped", reason: "stopped" },
        { kind: "off", status: 3 },
      ]);
      expect(found).toMatchObject({
        refused: "E_STATE",
        never: "E_STATE the machine is off and has not printed /printed/",
        closed: "E_CLOSED",
        length: (await readFile(guest)).length,
        reboots: [
          '{"kind":"stuck","message":"nothing to boot: give the machine a kernel, a program or code"}',
          "it boots",
        ],
      });
      await expect.poll(() => page.page.workers().length).toBe(0);
      await page.page.close();
    });

    it("tells of a worker that is lost by an error event, and refuses all from then on", async () => {
      await writeFile(
        join(site.files, "lost.js"),
        'import "./hyperfile/web-worker.js"; addEventListener("message", ({ data }) => { if (data.kind === "resize") throw new Error("no more"); });',
      );
      const page = await site.open("lost", '<script type="module" src="api.js"></script>');
      const told = await page.page.evaluate(async () => {
        const { startMachine } = window as unknown as Api;
        const machine = await startMachine({
          kernel: "guest64.elf",
          worker: () => new Worker("lost.js", { type: "module" }),
        });
        const states: string[] = [];
        machine.addEventListener("state", ({ detail }) => states.push(detail));
        const lost = new Promise<ErrorEvent>((resolve) => machine.addEventListener("error", resolve));
        const waiting = machine.waitFor("never").catch(({ code }) => code);
        machine.resize(100, 30);
        const { message, error } = await lost;
        const saved = await machine.save().catch(({ code }) => code);
        return { message, code: error.code, states, waiting: await waiting, saved };
      });
      expect(told).toEqual({
        message: "the machine's worker has failed: Uncaught Error: no more",
        code: "E_WORKER",
        states: ["off"],
        waiting: "E_WORKER",
        saved: "E_WORKER",
      });
      await page.page.close();
    });

    it("says what is wrong in one line, in the element and by an error event", async () => {
      const page = await site.open("wrong", element(""));
      await page.is("off");
      const fails = async (attributes: Record<string, string>) => {
        const code = page.page.evaluate((values) => {
          const machine = document.querySelector("hyperfile-machine")!;
          for (const name of machine.getAttributeNames()) if (name !== "state") machine.removeAttribute(name);
          for (const [name, value] of Object.entries(values)) machine.setAttribute(name, value);
          return new Promise<string>((resolve) => {
            machine.addEventListener("error", ({ error, message }) => resolve(`${error.code} ${message}`), {
              once: true,
            });
            machine.start().catch(() => {});
          });
        }, attributes);
        const told = await code;
        expect(told.slice(told.indexOf(" ") + 1)).toBe(await page.failure());
        await page.is("off");
        return told.replaceAll(site.server.url, "");
      };
      expect(await fails({})).toBe("E_OPTION nothing to start: give a kernel, a program or a snapshot");
      expect(await fails({ kernel: "guest64.elf", memory: "plenty" })).toBe(
        'E_OPTION memory "plenty" is no size: write a number with K, M or G, such as 64M',
      );
      expect(await fails({ kernel: "http://" })).toBe(
        'E_OPTION the kernel "http://" is no address: give a URL or bytes',
      );
      expect(await fails({ kernel: "index.html" })).toMatch(/^E_KERNEL_UNKNOWN index\.html: .*[^\n]$/);
      expect(await fails({ snapshot: "guest64.elf" })).toMatch(/^E_SNAPSHOT_\w+ .*snapshot.*[^\n]$/);
      expect(await fails({ kernel: "guest64.elf", memory: "4097" })).toBe(
        "E_MEMORY_SIZE RAM of 4097 bytes is impossible: use a multiple of 4096",
      );
      expect(site.browser.complaints.splice(0)).toEqual([]);
      expect(await fails({ kernel: "no/such/Image" })).toBe(
        "E_FETCH the kernel can't be loaded from no/such/Image: the server says 404 Not Found; check the address",
      );
      expect(await fails({ kernel: "guest64.elf", worker: "no/such/worker.js" })).toBe(
        "E_WORKER the machine's worker has failed: it can't be loaded: is web-worker.js where the page looks for it?",
      );
      // The browser itself speaks of files that are not there.
      for (const complaint of site.browser.complaints.splice(0))
        expect(complaint).toMatch(/Failed to load resource: .* 404/);
      expect(await fails({ kernel: "index.html" })).not.toBe("");
      await page.page.evaluate(() => {
        const machine = document.querySelector("hyperfile-machine")!;
        machine.removeAttribute("worker");
        machine.setAttribute("kernel", "guest64.elf");
      });
      await page.press("Start");
      await page.shows(/guest#$/m);
      expect(await page.failure()).toBe("");
      await page.page.close();
    });

    it("ends its worker when it is removed, also while it starts, and not when it is moved", async () => {
      const moved = await site.open(
        "moved",
        `<div id="one">${element('kernel="guest64.elf" autostart')}</div><div id="two"></div>`,
      );
      const { page } = moved;
      await moved.shows(/guest#$/m);
      expect(page.workers()).toHaveLength(1);
      await page.evaluate(() =>
        document.querySelector("#two")!.append(document.querySelector("hyperfile-machine")!),
      );
      await moved.type("echo still here\n");
      await moved.shows(/^still here$/m);
      expect(page.workers()).toHaveLength(1);
      const state = await page.evaluate(async () => {
        const machine = document.querySelector("hyperfile-machine")!;
        machine.remove();
        await Promise.resolve();
        document.querySelector("#one")!.append(machine.cloneNode());
        document.querySelector("hyperfile-machine")!.remove();
        return machine.machine!.state;
      });
      expect(state).toBe("off");
      await expect.poll(() => page.workers().length).toBe(0);
      await page.close();
    });

    it("can be used with the keyboard alone, and has names for what can't be seen", async () => {
      const keys = await site.open("keys", element('kernel="guest64.elf" autostart'));
      const { page } = keys;
      await keys.shows(/guest#$/m);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Tab");
      await page.keyboard.press("Tab");
      await page.keyboard.type("echo by keys\n");
      await keys.shows(/^by keys$/m);
      await page.keyboard.press("Shift+F6");
      await page.keyboard.press("Enter");
      await keys.is("paused");
      expect(await page.getByRole("group", { name: "Virtual machine" }).count()).toBe(1);
      const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
      // By the debugger: the page's policy lets nobody else in.
      await page.evaluate(await readFile(axe, "utf8"));
      const found = await page.evaluate(async () => {
        const { axe } = window as unknown as {
          axe: { run(): Promise<{ violations: { id: string; impact: string }[] }> };
        };
        return (await axe.run()).violations.map(({ id, impact }) => ({ id, impact }));
      });
      expect(found.filter(({ impact }) => impact === "serious" || impact === "critical")).toEqual([]);
      await page.close();
    });
  },
);
