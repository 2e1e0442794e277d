/** The editor: a text area over a layer that shows line numbers, highlighted lines and the line of a mistake. */

/** What the editor tells its owner. */
export interface EditorEvents {
  onEdit(): void;
  /** The caret is in this line, from 0. */
  onCaret(line: number): void;
  /** The mouse is over this line, or over none. */
  onHover(line: number | undefined): void;
}

/** The editor. */
export class Editor {
  private shownLines = 0;
  private caretLine = -1;
  private mistake: number | undefined;
  private hovered: number | undefined;

  /**
   * @param area the text area; its lines do not wrap
   * @param layer the layer behind it, which scrolls as the text area does
   * @param events whom to tell
   */
  constructor(
    private readonly area: HTMLTextAreaElement,
    private readonly layer: HTMLElement,
    private readonly events: EditorEvents,
  ) {
    area.addEventListener("input", () => {
      this.number();
      events.onEdit();
    });
    area.addEventListener("scroll", () => {
      layer.scrollTop = area.scrollTop;
    });
    document.addEventListener("selectionchange", () => {
      if (document.activeElement !== area) return;
      const line = this.lineOfCaret;
      if (line === this.caretLine) return;
      this.caretLine = line;
      events.onCaret(line);
    });
    area.addEventListener("mousemove", (event) => {
      const height = layer.firstElementChild?.getBoundingClientRect().height ?? 0;
      const top = event.clientY - area.getBoundingClientRect().top + area.scrollTop;
      const line = Math.floor((top - Number.parseFloat(getComputedStyle(area).paddingTop)) / height);
      this.hover(line >= 0 && line < this.shownLines ? line : undefined);
    });
    area.addEventListener("mouseleave", () => this.hover(undefined));
  }

  get text(): string {
    return this.area.value;
  }

  set text(source: string) {
    this.area.value = source;
    this.caretLine = -1;
    this.number();
  }

  /** Line of the caret, from 0; undefined while the focus is elsewhere. */
  get caret(): number | undefined {
    return document.activeElement === this.area ? this.lineOfCaret : undefined;
  }

  private get lineOfCaret(): number {
    return this.area.value.slice(0, this.area.selectionStart).split("\n").length - 1;
  }

  /** Takes the focus. */
  focus(): void {
    this.area.focus();
  }

  /** Marks the line of a mistake, from 1; none if undefined. */
  setMistake(line: number | undefined, isMistaken: boolean): void {
    if (this.mistake !== undefined) this.layer.children[this.mistake - 1]?.classList.remove("mistaken");
    this.mistake = line;
    if (line !== undefined) this.layer.children[line - 1]?.classList.add("mistaken");
    this.area.setAttribute("aria-invalid", String(isMistaken));
  }

  /** Highlights lines, numbered from 0; gives how many. */
  highlight(lines: ReadonlySet<number>, mayScroll: boolean): number {
    const { layer, area } = this;
    [...layer.children].forEach((child, line) => {
      child.classList.toggle("linked", lines.has(line));
    });
    const first = Math.min(...lines);
    const element = layer.children[first] as HTMLElement | undefined;
    if (mayScroll && element !== undefined && document.activeElement !== area) {
      const top = element.offsetTop;
      if (top < area.scrollTop || top + element.offsetHeight > area.scrollTop + area.clientHeight)
        area.scrollTop = Math.max(0, top - area.clientHeight / 2);
    }
    return lines.size;
  }

  private hover(line: number | undefined): void {
    if (line === this.hovered) return;
    this.hovered = line;
    this.events.onHover(line);
  }

  private number(): void {
    const { layer } = this;
    const wanted = this.area.value.split("\n").length;
    for (; this.shownLines < wanted; this.shownLines++) {
      const line = document.createElement("div");
      line.textContent = String(this.shownLines + 1);
      layer.append(line);
    }
    for (; this.shownLines > wanted; this.shownLines--) layer.lastElementChild!.remove();
    layer.scrollTop = this.area.scrollTop;
  }
}
