/** The page's elements by id, and small pieces of new ones. */

/** The element with an id that `translator.html` has. */
export function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`translator.html has no element ${id}`);
  return element as Kind;
}

/** A new element with text. */
export function made<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  text: string,
  className = "",
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  element.textContent = text;
  if (className !== "") element.className = className;
  return element;
}

/** Sets an element's text, if it is another: what is read aloud on changes stays silent else. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
