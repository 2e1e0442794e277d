/**
 * The page's network: what the chosen machine has of it, where it leads, and which tabs are in it. The choice of a way out is
 * one of all tabs: the browser keeps it for them, and tells them when another one has chosen.
 */
import type { InlineVmFigures } from "@hyperfile/broker/inline";
import { type HostFigures, type OutsideChoice, PAGE_NETWORK } from "../host/protocol.js";
import { element } from "./elements.js";
import type { VmHost } from "./vm-host.js";

/** Where the browser keeps the choice. */
const KEY = "hyperfile way";

/** The network, as a user has it before him. */
export class NetworkView {
  private readonly form = element("way", HTMLFormElement);
  private readonly state = element("network-state", HTMLParagraphElement);
  private readonly wire = element("vm-network", HTMLSelectElement);
  private readonly address = element("vm-address", HTMLSpanElement);
  /** The machine that is chosen: what is done here is done to it. */
  private vm: string | undefined;
  private vms: readonly InlineVmFigures[] = [];

  /** @param attempt does what may be refused, and tells it */
  constructor(
    private readonly host: VmHost,
    private readonly attempt: (work: () => Promise<unknown>) => Promise<void>,
  ) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.attempt(() => this.chooseWay(this.wish()));
    });
    this.wire.addEventListener("change", () => {
      const { vm } = this;
      const isPlugged = this.wire.value === PAGE_NETWORK;
      if (vm !== undefined) void this.attempt(() => this.host.ask("plug", { vm, isPlugged }));
    });
    addEventListener("storage", ({ key }) => {
      if (key === KEY) void this.attempt(() => this.follow());
    });
    void this.attempt(() => this.follow());
  }

  /** Another machine is chosen, or none is. */
  chooseVm(vm: string | undefined): void {
    if (vm === this.vm) return;
    this.vm = vm;
    this.showWire(true);
  }

  /** Shows what is so now. */
  show({ vms, network }: HostFigures): void {
    this.vms = vms;
    // Who has the keyboard on it is about to choose.
    this.showWire(document.activeElement !== this.wire);
    put(this.state, network === undefined ? "No machine has a network card yet." : stateText(network));
  }

  private showWire(mayChange: boolean): void {
    const vm = this.vms.find(({ name }) => name === this.vm);
    const [nic] = vm?.nics ?? [];
    const isUsable = nic?.network !== undefined;
    this.wire.disabled = !isUsable;
    if (mayChange) this.wire.value = nic?.isPlugged === true ? PAGE_NETWORK : "none";
    if (nic === undefined) put(this.address, vm === undefined ? "" : "it has no network card");
    else if (!isUsable) put(this.address, "its card leads nowhere");
    else put(this.address, `${nic.hostName}, ${nic.address}, ${nic.mac}`);
  }

  /** What the form says. @throws Error where an address is missing */
  private wish(): OutsideChoice {
    const data = new FormData(this.form);
    const url = String(data.get("relay") ?? "").trim();
    switch (data.get("way")) {
      case "web":
        return { kind: "web" };
      case "relay":
        if (url === "")
          throw new Error(
            "a relay needs its address: paste what hyperfile daemon --web prints, or one like wss://relay.example/wisp/",
          );
        return { kind: "relay", url };
      default:
        return { kind: "none" };
    }
  }

  private async chooseWay(outside: OutsideChoice): Promise<void> {
    try {
      localStorage.setItem(KEY, JSON.stringify(outside));
    } catch {
      // A browser that keeps nothing has it for this tab.
    }
    await this.host.ask("lead", { outside });
  }

  /** Takes what was chosen, here before or in another tab. */
  private async follow(): Promise<void> {
    const outside = kept();
    if (outside === undefined) return;
    for (const input of this.form.querySelectorAll<HTMLInputElement>("[name=way]"))
      input.checked = input.value === outside.kind;
    if (outside.kind === "relay")
      this.form.querySelector<HTMLInputElement>("[name=relay]")!.value = outside.url;
    await this.host.ask("lead", { outside });
  }
}

/** The choice that the browser keeps; undefined where there is none that can be used. */
function kept(): OutsideChoice | undefined {
  try {
    const { kind, url } = JSON.parse(localStorage.getItem(KEY) ?? "{}") as { kind?: unknown; url?: unknown };
    if (kind === "none" || kind === "web") return { kind };
    return kind === "relay" && typeof url === "string" ? { kind, url } : undefined;
  } catch {
    return undefined;
  }
}

function stateText({ tabs, isLeading, text }: NonNullable<HostFigures["network"]>): string {
  const others = tabs - 1;
  const who =
    others === 0 ? "This tab is alone in it" : `${others} other tab${others === 1 ? " is" : "s are"} in it`;
  const gateway =
    isLeading === undefined
      ? "no tab has the gateway yet"
      : isLeading
        ? "this tab has the gateway"
        : "another tab has the gateway";
  return `${who}, ${gateway}. ${text}`.trimEnd();
}

function put(place: HTMLElement, text: string): void {
  if (place.textContent !== text) place.textContent = text;
}
