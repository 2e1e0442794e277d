/** The systems that the page offers: where their files are, and what a machine for them is. */
import type { BootImages } from "@hyperfile/machine";
import embeddedUrl from "../../../guest/bin/guest64.elf?url";
import type { VmRecipe } from "../host/protocol.js";

/** MiB that machines may have. */
export const memorySizes = [32, 64, 128, 256, 512] as const;

/** A system. */
export interface GuestChoice {
  readonly id: string;
  readonly title: string;
  /** MiB that it has unless something else is chosen. */
  readonly memory: number;
  /** Whether it has a driver for network cards. */
  readonly hasNetwork: boolean;
  /** Its machine, with what it boots; `tell` hears how far fetching is. */
  recipe(ramBytes: number, tell: (text: string) => void): Promise<VmRecipe>;
  /** A machine with so much memory that has booted already; undefined where there is none. */
  saved?(
    ramBytes: number,
    tell: (text: string) => void,
  ): Promise<{ readonly recipe: VmRecipe; readonly snapshot: Uint8Array } | undefined>;
}

/** What the build has put into the folder `debian`. */
interface DebianManifest {
  readonly release: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  /** Of a machine with a network card and a device for sockets, at its shell's prompt. */
  readonly snapshot: { readonly file: string; readonly ramBytes: number };
}

const embedded: GuestChoice = {
  id: "embedded",
  title: "Embedded shell",
  memory: 32,
  hasNetwork: false,
  async recipe(ramBytes, tell) {
    // The first one is on its way since the page began.
    const kernel = await (early ?? fetched(embeddedUrl, "guest64.elf", tell));
    early = undefined;
    return { ramBytes, boot: { kernel } };
  },
};

let early: ReturnType<typeof fetched> | undefined = fetched(embeddedUrl, "guest64.elf", () => {});
// It is told when it is asked for.
early.catch(() => {});

/** The systems that this page has: Debian only where the build has found it. */
export async function guestChoices(): Promise<readonly GuestChoice[]> {
  const list = new URL("./guests.json", document.baseURI);
  const answer = await fetch(list);
  if (!answer.ok) throw new Error(`the list of systems, ${list.pathname}, is missing: build the page again`);
  const { debian: manifest } = (await answer.json()) as { readonly debian?: DebianManifest };
  return [embedded, ...(manifest === undefined ? [] : [debian(new URL("./debian/", list), manifest)])];
}

function debian(base: URL, manifest: DebianManifest): GuestChoice {
  const file = (name: string, tell: (text: string) => void) => fetched(new URL(name, base).href, name, tell);
  return {
    id: "debian",
    title: `Debian, Linux ${manifest.release}`,
    memory: 128,
    hasNetwork: true,
    async recipe(ramBytes, tell) {
      const boot: BootImages = {
        kernel: await file(manifest.kernel, tell),
        initrd: await file(manifest.initrd, tell),
        append: manifest.append,
      };
      return { ramBytes, boot, hasSockets: true };
    },
    async saved(ramBytes, tell) {
      const { snapshot } = manifest;
      if (snapshot.ramBytes !== ramBytes) return undefined;
      return {
        recipe: { ramBytes, xlen: 64, hasSockets: true, nics: 1 },
        snapshot: (await file(snapshot.file, tell)).bytes,
      };
    },
  };
}

/** A file of the page's folder. @throws Error of one line where it can't be had */
async function fetched(
  url: string,
  name: string,
  tell: (text: string) => void,
): Promise<{ readonly name: string; readonly bytes: Uint8Array }> {
  const answer = await fetch(url).catch((error: Error) => {
    throw new Error(`${name} can't be fetched: ${error.message}; are you offline?`);
  });
  if (!answer.ok || answer.body === null)
    throw new Error(
      `${name} can't be fetched: the server says ${answer.status} ${answer.statusText}`.trimEnd(),
    );
  const whole = Number(answer.headers.get("Content-Length") ?? 0);
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = answer.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    length += part.value.length;
    const of = whole >= length ? ` of ${(whole / 2 ** 20).toFixed(1)}` : "";
    tell(`${name}: ${(length / 2 ** 20).toFixed(1)}${of} MiB`);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { name, bytes };
}
