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
  let circle: string[] = [];
  const visit = (name: string, path: readonly string[]): void => {
    const item = byName.get(name);
    if (item === undefined || state.get(name) === "done" || circle.length > 0) return;
    if (state.get(name) === "open") {
      circle = path.slice(path.indexOf(name));
      return;
    }
    state.set(name, "open");
    for (const other of item.after) visit(other, [...path, name]);
    state.set(name, "done");
    order.push(name);
  };
  for (const { name } of items) visit(name, []);
  return circle.length > 0 ? { order: items.map(({ name }) => name), circle } : { order, circle };
}
