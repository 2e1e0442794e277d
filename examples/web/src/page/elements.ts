/** Elements of the page that its document is sure to have. */

/** The element of an id. @throws Error where the document lacks it, or has another kind */
export function element<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}
