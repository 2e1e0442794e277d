/** An order in which each item comes after those that it names. */

/** An item and the names of those before it; names of no item are left out of account. */
export interface OrderedItem {
  readonly name: string;
  readonly after: readonly string[];
}

/**
 * The names in order, those without need of each other as given. Where items need each other in a circle, `circle` has
 * the names along it and `order` the items as given.
 */
export function startOrder(items: readonly OrderedItem[]): { order: string[]; circle: string[] } {
  const byName = new Map(items.map((item) => [item.name, item]));
  const order: string[] = [];
  const state = new Map<string, "open" | "done">();
  for (const first of items) {
    /** The way from the first to the one that is looked at, each with what it looks at next. */
    const way: { readonly item: OrderedItem; next: number }[] = [];
    const enter = (item: OrderedItem): void => {
      state.set(item.name, "open");
      way.push({ item, next: 0 });
    };
    if (!state.has(first.name)) enter(first);
    for (let last = way.at(-1); last !== undefined; last = way.at(-1)) {
      const name = last.item.after[last.next++];
      if (name === undefined) {
        way.pop();
        state.set(last.item.name, "done");
        order.push(last.item.name);
        continue;
      }
      const other = byName.get(name);
      if (other === undefined) continue;
      if (state.get(name) === "open") {
        const names = way.map(({ item }) => item.name);
        return { order: items.map((item) => item.name), circle: names.slice(names.indexOf(name)) };
      }
      if (!state.has(name)) enter(other);
    }
  }
  return { order, circle: [] };
}
