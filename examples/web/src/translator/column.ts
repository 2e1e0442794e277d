/**
 * A column of lines: a list box whose lines are moved through by the arrow keys. Lines that belong to the same guest
 * instructions are highlighted in all columns at once; the owner says which.
 */

/** A line as any column needs it. */
export interface ColumnLine {
  readonly address?: string;
}

/** What a column tells its owner. */
export interface ColumnEvents<Line> {
  /** The mouse is over a line, or over none. */
  onHover(line: Line | undefined): void;
  /** A line was chosen, by mouse or keyboard. */
  onSelect(line: Line): void;
  /** Enter, or a click on the element with the class `gutter`. */
  onActivate?(line: Line): void;
  /** The keyboard asks for the column to the left (-1) or right (1). */
  onLeave(direction: -1 | 1): void;
}

/** Lines that a page key moves by. */
const PAGE_LINES = 12;

/** One column. */
export class Column<Line extends ColumnLine> {
  private lines: readonly Line[] = [];
  private elements: HTMLElement[] = [];
  private current = 0;
  private hovered: Line | undefined;
  /** What the mouse was pressed on. */
  private pressed: { readonly target: Element; readonly line: Line | undefined } | undefined;

  /**
   * @param list the list box, which has an id and takes the focus
   * @param render fills a line's element
   */
  constructor(
    private readonly list: HTMLElement,
    private readonly render: (line: Line, element: HTMLElement) => void,
    private readonly events: ColumnEvents<Line>,
  ) {
    list.addEventListener("keydown", (event) => this.press(event));
    list.addEventListener("mousemove", (event) => this.hover(this.lines[this.indexOf(event.target)]));
    list.addEventListener("mouseleave", () => this.hover(undefined));
    list.addEventListener("mousedown", ({ target }) => {
      this.pressed = { target: target as Element, line: this.lines[this.indexOf(target)] };
    });
    list.addEventListener("click", ({ target }) => {
      // What was pressed may have been filled anew since: the click is then the list's, or the line's.
      const { pressed } = this;
      this.pressed = undefined;
      const wasReplaced = pressed !== undefined && !pressed.target.isConnected;
      const index = wasReplaced ? this.placeOf(pressed.line) : this.indexOf(target);
      if (index < 0) return;
      this.select(index);
      const at = wasReplaced ? pressed.target : (target as Element);
      if (at.closest(".gutter") !== null) events.onActivate?.(this.lines[index]!);
    });
  }

  /** Replaces the lines. */
  show(lines: readonly Line[]): void {
    this.lines = lines;
    this.elements = lines.map((line, index) => {
      const element = document.createElement("div");
      element.setAttribute("role", "option");
      element.id = `${this.list.id}-${index}`;
      element.className = "line";
      element.setAttribute("aria-selected", "false");
      this.render(line, element);
      return element;
    });
    this.list.replaceChildren(...this.elements);
    this.current = Math.min(this.current, Math.max(0, lines.length - 1));
    this.mark();
  }

  /** Fills the elements of all lines anew, for lines whose looks depend on more than themselves. */
  refresh(): void {
    for (const [index, line] of this.lines.entries()) this.render(line, this.elements[index]!);
  }

  /** Highlights the lines of these addresses; gives how many there are. */
  highlight(addresses: ReadonlySet<string>, mayScroll: boolean): number {
    let count = 0;
    this.lines.forEach(({ address }, index) => {
      const isLinked = address !== undefined && addresses.has(address);
      this.elements[index]!.classList.toggle("linked", isLinked);
      if (isLinked && count++ === 0 && mayScroll) this.reveal(index);
    });
    return count;
  }

  /** Brings the line of an address into view. */
  revealAddress(address: string): void {
    const index = this.lines.findIndex((line) => line.address === address);
    if (index >= 0) this.reveal(index);
  }

  /** Takes the focus, at the first line of these addresses if there is one. */
  focus(addresses: ReadonlySet<string>): void {
    const linked = this.lines.findIndex(({ address }) => address !== undefined && addresses.has(address));
    if (linked >= 0 && !addresses.has(this.lines[this.current]?.address ?? "")) this.current = linked;
    this.mark();
    this.list.focus();
  }

  private hover(line: Line | undefined): void {
    if (line === this.hovered) return;
    this.hovered = line;
    this.events.onHover(line);
  }

  private indexOf(target: EventTarget | null): number {
    const line = (target as Element).closest<HTMLElement>(".line");
    return line === null ? -1 : this.elements.indexOf(line);
  }

  /** Where a line is now, or one of the same instruction; -1 if there is none. */
  private placeOf(line: Line | undefined): number {
    if (line === undefined) return -1;
    const index = this.lines.indexOf(line);
    if (index >= 0 || line.address === undefined) return index;
    return this.lines.findIndex(({ address }) => address === line.address);
  }

  private select(index: number): void {
    this.current = index;
    this.mark();
    this.reveal(index);
    this.events.onSelect(this.lines[index]!);
  }

  private mark(): void {
    for (const selected of this.list.querySelectorAll("[aria-selected=true]"))
      selected.setAttribute("aria-selected", "false");
    const element = this.elements[this.current];
    element?.setAttribute("aria-selected", "true");
    if (element === undefined) this.list.removeAttribute("aria-activedescendant");
    else this.list.setAttribute("aria-activedescendant", element.id);
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const last = this.lines.length - 1;
    const to = new Map([
      ["ArrowDown", this.current + 1],
      ["ArrowUp", this.current - 1],
      ["PageDown", this.current + PAGE_LINES],
      ["PageUp", this.current - PAGE_LINES],
      ["Home", 0],
      ["End", last],
    ]).get(event.key);
    if (to !== undefined) {
      if (last >= 0) this.select(Math.max(0, Math.min(last, to)));
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight")
      this.events.onLeave(event.key === "ArrowLeft" ? -1 : 1);
    else if (event.key === "Enter" && last >= 0) this.events.onActivate?.(this.lines[this.current]!);
    else return;
    event.preventDefault();
  }

  /** Scrolls this column only: the page stays where it is. */
  private reveal(index: number): void {
    const { list } = this;
    const element = this.elements[index]!;
    const top = element.offsetTop - list.offsetTop;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + element.offsetHeight > list.scrollTop + list.clientHeight)
      list.scrollTop = top + element.offsetHeight - list.clientHeight;
  }
}
