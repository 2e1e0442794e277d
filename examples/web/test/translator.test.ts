/** The translator view in Chromium, under a policy that lets no JavaScript be made: it is shown, and WebAssembly runs. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { fragmentOf } from "../src/translator/link.js";
import { samples } from "../src/translator/samples.js";
import { builtPages, missingBrowser, TestBrowser } from "./browser.js";
import { StaticServer } from "./static-server.js";
import { type ColumnId, TranslatorPage } from "./translator-page.js";

const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src 'self'";
const { parse } = createRequire(new URL("../../../packages/jit/package.json", import.meta.url))(
  "acorn",
) as typeof import("acorn");

/** Adds 3 to a0 `turns` times. */
const adding = (turns: number) => `        li      a0, 0
        li      a1, 0
        li      a2, ${turns}
loop:   addi    a0, a0, 3
        addi    a1, a1, 1
        bne     a1, a2, loop
        ebreak
`;

/** What a page shows it shows soon: this is a guard. */
const PATIENCE = { timeout: 60_000, interval: 20 };
/** The page has highlighted a line of the source, and no other. */
const showsSource = (view: TranslatorPage, line: string) =>
  expect.poll(() => view.linkedSource(), PATIENCE).toEqual([line]);
const hasFocus = (view: TranslatorPage, id: string) =>
  expect.poll(() => view.page.evaluate(() => document.activeElement?.id), PATIENCE).toBe(id);

describe.skipIf(missingBrowser !== undefined)(
  `the translator view${missingBrowser === undefined ? "" : ` (skipped: ${missingBrowser})`}`,
  () => {
    let server: StaticServer;
    let browser: TestBrowser;

    beforeAll(async () => {
      server = await StaticServer.start(builtPages, { policy, path: "/below/" });
      browser = await TestBrowser.start();
    });
    afterEach(() => {
      expect(browser.complaints.splice(0)).toEqual([]);
    });
    afterAll(async () => {
      await browser?.close();
      await server?.close();
    });

    /** The page, with a program of ours unless there is none. */
    const open = async (source?: string, fragment = ""): Promise<TranslatorPage> => {
      const view = new TranslatorPage(await browser.open(`${server.url}translator.html${fragment}`));
      await view.status("Ready");
      if (source !== undefined) await view.type(source);
      return view;
    };

    it("shows all stages of a loop that was typed", async () => {
      const view = await open(adding(10));
      await view.lines("disassembly", "addi a0,a0,3").click();
      await view.page.waitForFunction(() =>
        document.querySelector("#ir")!.textContent!.startsWith("insn +0 len 2  ; addi a0"),
      );
      const listing = (await view.text("disassembly")).join("\n");
      for (const part of ["loop:", "0x80000006", "0d 05", "addi a0,a0,3", "bne a1,a2,0x80000006", "ebreak"])
        expect(listing).toContain(part);
      const ir = await view.text("ir");
      const optimised = await view.text("optimised");
      expect(ir.filter((line) => line.includes("add.i64"))).toHaveLength(2);
      expect(optimised.length).toBeLessThanOrEqual(ir.length);
      // Reads a1 twice; the second read is what was just written.
      expect(ir.filter((line) => line.includes("get.i64 x[11]"))).toHaveLength(2);
      expect(optimised.filter((line) => line.includes("get.i64 x[11]"))).toHaveLength(1);
      const script = await view.text("javascript");
      const program = parse(
        script.slice(script.findIndex((line) => line.startsWith("function"))).join("\n"),
        {
          ecmaVersion: "latest",
        },
      );
      expect(program.body.map(({ type }) => type)).toEqual(["FunctionDeclaration"]);
      const wasm = (await view.text("wasm")).join("\n");
      expect(wasm).toMatch(/loop L\d+ \{/);
      expect(wasm).toMatch(/a0 = a0 \+ 3/);
      expect(await view.page.textContent("#tabs")).toContain("WebAssembly");
      await view.page.close();
    });

    it("marks a line's neighbours in all columns, by mouse and by keyboard", async () => {
      const view = await open(adding(10));
      await view.lines("disassembly", "addi a1,a1,1").click();
      await view.settled();
      const address = "0x80000008";
      for (const column of ["disassembly", "ir", "optimised", "javascript", "wasm"] as ColumnId[])
        await expect
          .poll(async () => (await view.linked(column)).join("\n"), PATIENCE)
          .toMatch(/addi a1,a1,1/);
      await showsSource(view, "5");
      expect(await view.linked("disassembly")).toHaveLength(1);
      await expect
        .poll(() => view.page.textContent("#linked"), PATIENCE)
        .toContain(`${address} in lines of each column: source 1, disassembly 1, IR 5`);

      // The mouse shows another line's, and leaves what was chosen.
      await view.lines("ir", "branch").hover();
      await showsSource(view, "6");
      await expect.poll(async () => (await view.linked("wasm")).join("\n"), PATIENCE).toContain("continue");
      await view.page.mouse.move(5, 5);
      await showsSource(view, "5");

      // Arrows go through lines and to the neighbouring columns, and arrive at what is linked.
      await view.page.locator("#disassembly").press("ArrowDown");
      await showsSource(view, "6");
      await view.page.keyboard.press("ArrowRight");
      await hasFocus(view, "ir");
      await view.page.keyboard.press("Home");
      await showsSource(view, "4");
      await view.page.keyboard.press("ArrowLeft");
      await view.page.keyboard.press("ArrowLeft");
      await hasFocus(view, "source");
      await view.page.keyboard.press("Control+Home");
      await expect.poll(async () => (await view.linked("disassembly")).join(), PATIENCE).toContain("li a0,0");
      await view.page.close();
    });

    it("shows a mistake at its line, and keeps the columns, marked as old, until it is mended", async () => {
      const view = await open(adding(10));
      const before = await view.text("disassembly");
      const source = view.page.getByRole("textbox", { name: "Source" });
      await source.fill(adding(10).replace("bne", "bnne"));
      await view.page.waitForFunction(() => document.querySelector("#mistake")!.textContent !== "");
      expect(await view.page.textContent("#mistake")).toBe("line 6: no instruction bnne in RV64");
      expect(await view.page.locator("#layer .mistaken").allTextContents()).toEqual(["6"]);
      expect(await source.getAttribute("aria-invalid")).toBe("true");
      expect(await view.text("disassembly")).toEqual(before);
      expect(await view.page.locator("h2").allTextContents()).toEqual([
        "Source",
        ...["Disassembly", "Machine", "IR", "Optimised IR", "JavaScript", "WebAssembly"].map(
          (name) => `${name} (old)`,
        ),
      ]);
      await view.type(adding(11));
      expect(await view.page.textContent("#mistake")).toBe("");
      expect(await view.page.locator(".old-mark").count()).toBe(0);
      expect(await source.getAttribute("aria-invalid")).toBe("false");
      await view.page.close();
    });

    it("steps, with registers as computed by hand", async () => {
      const view = await open("li a0, 5\nslli a1, a0, 4\nsub a2, a0, a1\nj next\nnop\nnext: ebreak");
      const steps = [
        ["0x80000002", { a0: ["0x0000000000000005", "5"] }],
        ["0x80000006", { a1: ["0x0000000000000050", "80"] }],
        ["0x8000000a", { a2: ["0xffffffffffffffb5", "-75"] }],
        ["0x8000000e", {}],
      ] as const;
      for (const [pc, changes] of steps) {
        await view.press("Step");
        await view.status(`Paused at ${pc}`);
        const registers = await view.registers();
        const changed = Object.entries(registers).filter(([name, { changed }]) => changed && name !== "pc");
        expect(Object.fromEntries(changed.map(([name, { hex, value }]) => [name, [hex, value]]))).toEqual(
          changes,
        );
        expect((await view.page.locator("#disassembly .current").textContent())!).toContain(pc);
      }
      await view.press("Step");
      expect(await view.status("Ended")).toBe("Ended: ebreak at 0x8000000e, after 4 instructions");
      await view.press("Reset");
      await view.status("Ready at 0x80000000");
      expect(Object.keys(await view.registers())).not.toContain("a2");
      await view.page.close();
    });

    it("stops at breakpoints, set by mouse and by keyboard", async () => {
      const view = await open(adding(10));
      await view.lines("disassembly", "bne a1,a2").locator(".gutter").click();
      await view.press("Run");
      await view.status("Breakpoint at 0x8000000a, after 5 instructions");
      expect((await view.registers()).a0).toMatchObject({ value: "3", changed: true });
      await view.press("Run");
      await view.status("Breakpoint at 0x8000000a, after 8 instructions");
      expect((await view.registers()).a0!.value).toBe("6");
      // The line is still chosen: Enter clears it, and sets one at the line below.
      await view.page.locator("#disassembly").press("Enter");
      await view.page.keyboard.press("ArrowDown");
      await view.page.keyboard.press("Enter");
      expect(await view.lines("disassembly", "breakpoint").allTextContents()).toEqual([
        expect.stringContaining("ebreak"),
      ]);
      await view.press("Run");
      await view.status("Breakpoint at 0x8000000e, after 33 instructions");
      expect((await view.registers()).a0!.value).toBe("30");
      await view.press("Run");
      await view.status("Ended: ebreak at 0x8000000e, after 33 instructions");
      await view.page.close();
    });

    it("counts each instruction of a counted run, and by tiers what the engine runs", async () => {
      const view = await open(adding(1000));
      await view.page.getByLabel("Count every instruction").check();
      await view.press("Run");
      await view.status("Ended: ebreak at 0x80000010, after 3,003 instructions");
      expect(await view.counts()).toEqual(["× 1", "× 1", "× 1", "× 1,000", "× 1,000", "× 1,000", "× 1"]);
      expect((await view.registers()).a0!.value).toBe("3000");

      await view.type(adding(1_000_000));
      await view.page.getByLabel("Count every instruction").uncheck();
      await view.press("Run");
      await view.status("Ended: ebreak at 0x80000014, after 3,000,004 instructions");
      expect((await view.registers()).a0!.value).toBe("3000000");
      const [, loop] = await view.blocks();
      expect(loop).toEqual([
        "0x8000000c loop",
        "16,000",
        expect.stringMatching(/^[\d.]+ %$/),
        expect.stringMatching(/^WebAssembly, \d+ bytes$/),
      ]);
      expect(await view.heads()).toContain("loop:16,000 arrivals → WebAssembly");
      const totals = (await view.page.textContent("#totals"))!;
      const [interpreted, translated] = [...totals.matchAll(/: ([\d,]+) instructions/g)].map(([, count]) =>
        Number(count!.replaceAll(",", "")),
      );
      expect(interpreted! + translated!).toBe(3_000_004);
      expect(translated).toBeGreaterThan(2_900_000);
      await view.page.close();
    });

    it("stays alive beside an endless loop, and stops it", async () => {
      for (const isCounted of [false, true]) {
        const view = await open("li a0, 0\nloop: addi a0, a0, 1\nj loop\nother: li a1, 7\nebreak");
        await view.page.getByLabel("Count every instruction").setChecked(isCounted);
        await view.press("Run");
        await view.status("Running");
        // Frames go on, what is typed is translated, another block is explained, and registers are seen to change.
        await view.page.evaluate(async () => {
          for (let frame = 0; frame < 30; frame++) await new Promise((shown) => requestAnimationFrame(shown));
        });
        await view.lines("disassembly", "li a1,7").click();
        await view.lines("ir", "li a1,7").waitFor();
        const first = (await view.registers()).a0!.hex;
        await view.page.waitForFunction(
          (before) => !document.querySelector("#registers")!.textContent!.includes(before),
          first,
        );
        expect(await view.page.textContent("#status")).toBe("Running");
        await view.press("Pause");
        await view.status("Paused at 0x8000000");
        const { hex } = (await view.registers()).a0!;
        await view.press("Step");
        await view.press("Step");
        await view.page.waitForFunction(
          (before) => !document.querySelector("#registers")!.textContent!.includes(before),
          hex,
        );
        expect(BigInt((await view.registers()).a0!.hex)).toBe(BigInt(hex) + 1n);
        await view.press("Run");
        await view.status("Running");
        await view.press("Reset");
        await view.status("Ready at 0x80000000");
        await view.page.close();
      }
    });

    it("runs the 6502", async () => {
      const view = await open();
      await view.page.getByLabel("Instruction set").selectOption("MOS 6502");
      await view.lines("disassembly", "txa").waitFor();
      await view.type("ldx #0\nlda #$f0\nloop: clc\nadc #1\ninx\ncpx #20\nbne loop\nbrk");
      expect((await view.text("disassembly")).join("\n")).toContain("bne $0404");
      // A click may meet lines that the last change of the program is about to replace.
      await vi.waitFor(
        async () => {
          await view.lines("disassembly", "adc").click();
          await view.settled();
          expect((await view.text("ir")).join("\n")).toContain("adc");
          expect((await view.text("wasm")).join("\n")).toMatch(/loop L\d+ \{/);
        },
        { timeout: 60_000, interval: 500 },
      );
      await view.press("Run");
      await view.status("Ended: brk at 0x40c");
      const { a, x, p } = await view.registers();
      // 0xf0 + 20 goes past 255 once, long before the end; comparing 20 with 20 sets Z and C.
      expect([a!.value, x!.value, p!.value]).toEqual([String((0xf0 + 20) & 0xff), "20", "··-B··ZC"]);
      await view.page.close();
    });

    it("is shared by its address, and goes back to what was there", async () => {
      const view = await open("start: li a0, 1\nécho: li a1, 2 # ünïcode\n ebreak".replace("écho", "echo"));
      await view.page.getByLabel("Instruction set").selectOption("RISC-V, 32 bits");
      await view.lines("disassembly", "li a1,2").click();
      await view.lines("ir", "li a1,2").waitFor();
      await view.page.waitForFunction(() => location.hash.startsWith("#p1.rv32.80000002."));
      const source = await view.page.inputValue("#source");
      const other = await open(undefined, new URL(view.page.url()).hash);
      expect(await other.page.inputValue("#source")).toBe(source);
      expect(await other.page.inputValue("#isa")).toBe("rv32");
      expect((await other.text("ir"))[0]).toContain("li a1,2");
      expect(await other.page.textContent("#message")).toBe("");
      await other.page.close();

      await view.page.getByLabel("Program").selectOption("Sieve of primes");
      await view.lines("disassembly", "number:").waitFor();
      await view.settled();
      await view.page.goBack();
      await view.lines("disassembly", "echo:").waitFor();
      expect(await view.page.inputValue("#source")).toBe(source);
      await view.page.close();
    });

    it("says in one line why an address can't be followed, and shows the first program", async () => {
      const good = await fragmentOf({ isa: "rv64", block: "0x80000000", source: "nop\n" });
      const bomb = await fragmentOf({ isa: "rv64", block: "0x80000000", source: "#".repeat(5_000_000) });
      for (const [fragment, message] of [
        ["#nonsense", "the link is of no version that this page knows"],
        [good.replace("rv64", "z80"), "the link names no instruction set of this page"],
        [good.replace(/\.[^.]+$/, ""), "the link is cut off, or has more than a link has"],
        [good.replace("80000000", "top"), "the link is cut off, or has more than a link has"],
        [good.slice(0, -2), "the link's program can't be unpacked: part of it is missing or changed"],
        [`${good}!`, "the link's program can't be unpacked: part of it is missing or changed"],
        [bomb, "the link's program is longer than 262144 bytes"],
      ] as const) {
        const view = await open(undefined, fragment);
        expect(await view.page.textContent("#message")).toBe(`${message}; here is the first program instead`);
        expect(await view.page.inputValue("#source")).toBe(samples[0]!.source);
        await view.page.close();
      }
    });

    it("opens files of assembly, and says of others why not", async () => {
      const view = await open();
      const file = view.page.getByLabel("Open a file");
      const put = (name: string, buffer: Buffer) =>
        file.setInputFiles({ name, mimeType: "text/plain", buffer });
      await put("own.s", Buffer.from("li a7, 9\r\nebreak\r\n"));
      await view.lines("disassembly", "li a7,9").waitFor();
      for (const [name, bytes, message] of [
        ["program.elf", Buffer.from("\x7fELF\0\0"), "program.elf is no text: open a file of assembly"],
        ["long.s", Buffer.alloc(70_000, 35), "long.s has 70000 bytes: open assembly of at most 65536"],
      ] as const) {
        await put(name, bytes);
        await view.page.waitForFunction(
          (wanted) => document.querySelector("#message")!.textContent === wanted,
          message,
        );
        expect(await view.page.inputValue("#source")).toBe("li a7, 9\nebreak\n");
      }
      await view.page.close();
    });

    it("is used with the keyboard alone", async () => {
      const view = await open();
      const { keyboard } = view.page;
      const focused = () => view.page.evaluate(() => document.activeElement?.id ?? "");
      const tabTo = async (id: string, key: "Tab" | "Shift+Tab" = "Tab") => {
        for (let press = 0; press < 40; press++) {
          await keyboard.press(key);
          if ((await focused()) === id) return;
        }
        throw new Error(`${key} does not lead to ${id}`);
      };
      await tabTo("source");
      await keyboard.press("Control+A");
      await keyboard.type("li a0, 1\nloop: slli a0, a0, 1\nbgtz a0, loop\nebreak");
      await view.settled();
      await tabTo("disassembly");
      await keyboard.press("Home");
      await keyboard.press("ArrowDown");
      await keyboard.press("ArrowDown");
      await keyboard.press("Enter");
      await tabTo("run", "Shift+Tab");
      await keyboard.press("Enter");
      await view.status("Breakpoint at 0x80000004, after 2 instructions");
      expect(await focused()).toBe("run");
      await tabTo("step", "Shift+Tab");
      await keyboard.press("Space");
      await view.status("Paused at 0x80000002, after 3 instructions");
      await tabTo("disassembly");
      await keyboard.press("Enter");
      await tabTo("run", "Shift+Tab");
      await keyboard.press("Enter");
      // 1 shifted left 63 times is the first that is not positive.
      await view.status(`Ended: ebreak at 0x80000008, after ${1 + 2 * 63} instructions`);
      expect((await view.registers()).a0!.hex).toBe("0x8000000000000000");
      await view.page.close();
    });

    it("shows one column at a time on a phone, by tabs", async () => {
      const view = await open();
      await view.page.setViewportSize({ width: 390, height: 844 });
      const shown = () => view.page.locator("main > section:visible h2").allTextContents();
      expect(await shown()).toEqual(["Source"]);
      await view.page.getByRole("tab", { name: "Optimised IR" }).click();
      expect(await shown()).toEqual(["Optimised IR"]);
      await view.page.keyboard.press("ArrowRight");
      expect(await shown()).toEqual(["JavaScript"]);
      expect(await view.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
      await view.page.close();
    });

    it("has no fault that axe-core takes for serious: light, dark, on a phone, with a mistake, and having run", async () => {
      const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
      const view = await open(adding(1000));
      await view.lines("disassembly", "bne").locator(".gutter").click();
      await view.press("Run");
      await view.status("Breakpoint");
      for (const [colorScheme, width, isMistaken] of [
        ["light", 1440, false],
        ["dark", 1440, false],
        ["light", 390, true],
        ["dark", 1440, true],
      ] as const) {
        await view.page.emulateMedia({ colorScheme });
        await view.page.setViewportSize({ width, height: 900 });
        if (isMistaken) await view.page.locator("#source").fill("foo");
        if (isMistaken)
          await view.page.waitForFunction(() => document.querySelector("#mistake")!.textContent !== "");
        await view.page.evaluate(axe);
        const violations = await view.page.evaluate(async () => {
          const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
          const { violations, passes } = await axe.run();
          return {
            checks: passes.length,
            faults: violations
              .filter(({ impact }) => impact === "serious" || impact === "critical")
              .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
          };
        });
        expect(violations.faults).toEqual([]);
        expect(violations.checks).toBeGreaterThan(15);
      }
      await view.page.close();
    });
  },
);
