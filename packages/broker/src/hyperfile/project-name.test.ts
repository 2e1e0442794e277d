import { expect, it } from "vitest";
import { projectNameOf } from "./project-name.js";

it.each([
  ["/home/me/shop", "shop"],
  ["/home/me/My Shop 2/", "my-shop-2"],
  ["C:\\vms\\Web", "web"],
  ["/srv/42-fleet-", "fleet"],
  ["/root", "project"],
  ["/", "project"],
  [`/x/${"a".repeat(80)}`, "a".repeat(63)],
])("a Hyperfile in %s is project %s", (folder, name) => {
  expect(projectNameOf(folder)).toBe(name);
});
