/** Tabs for narrow screens, where one column is shown at a time. Wide screens show all columns and no tabs. */
import { byId, made } from "./elements.js";

/** A tab for each section of the page. */
export class Tabs {
  private readonly tabs: HTMLButtonElement[];

  constructor(private readonly panels: readonly HTMLElement[]) {
    this.tabs = panels.map((panel) => {
      const tab = made("button", panel.querySelector("h2")!.textContent!);
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.id = `tab-${panel.id}`;
      tab.setAttribute("aria-controls", panel.id);
      tab.addEventListener("click", () => this.show(panel));
      return tab;
    });
    const list = byId("tabs");
    list.append(...this.tabs);
    list.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      const at = this.tabs.indexOf(event.target as HTMLButtonElement);
      const next = (at + step + this.tabs.length) % this.tabs.length;
      this.show(this.panels[next]!);
      this.tabs[next]!.focus();
      event.preventDefault();
    });
    this.show(panels[0]!);
  }

  /** Shows a panel, where only one is shown. */
  show(panel: HTMLElement): void {
    this.panels.forEach((each, at) => {
      const isShown = each === panel;
      each.classList.toggle("is-shown", isShown);
      this.tabs[at]!.setAttribute("aria-selected", String(isShown));
      this.tabs[at]!.tabIndex = isShown ? 0 : -1;
    });
  }
}
