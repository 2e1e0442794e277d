/** How a machine's element looks: what pages may change are its size, its font, and its parts. */
export const elementStyle = `
:host {
  --edge: #c9cdd2;
  --back: #f1f2f0;
  --ink: #1d2630;
  --bad: #a3161f;
  --screen: #fbfbf8;
  display: grid;
  grid-template-rows: auto 1fr auto;
  block-size: 24rem;
  min-inline-size: 0;
  overflow: hidden;
  border: 1px solid var(--edge);
  border-radius: 6px;
  background: var(--back);
  color: var(--ink);
  font: 14px/1.4 system-ui, sans-serif;
}
:host([hidden]) { display: none; }
@media (prefers-color-scheme: dark) {
  :host { --edge: #38424e; --back: #1b222b; --ink: #d7dee8; --bad: #ff9a94; --screen: #11161d; }
}
.bar { display: flex; align-items: center; gap: 0.5rem; padding: 0.35rem 0.5rem; border-block-end: 1px solid var(--edge); }
.state { margin-inline-start: auto; }
button {
  font: inherit;
  color: inherit;
  background: var(--screen);
  border: 1px solid var(--edge);
  border-radius: 4px;
  min-block-size: 2rem;
  padding: 0 0.75rem;
  cursor: pointer;
}
button:disabled { opacity: 0.55; cursor: default; }
button:focus-visible, .screen:focus-within { outline: 2px solid #2f7fd1; outline-offset: -2px; }
.screen { min-block-size: 0; padding: 4px; background: var(--screen); overflow: hidden; }
.failure { margin: 0; padding: 0.35rem 0.5rem; color: var(--bad); border-block-start: 1px solid var(--edge); overflow-wrap: anywhere; }
.failure:empty { display: none; }
`;
