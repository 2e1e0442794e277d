import { expect, test } from "vitest";
import { findNetwork } from "./find-network.js";

const all = [
  { project: "shop", network: "lan" },
  { project: "shop", network: "lan" },
  { project: "shop", network: "back" },
  { project: "blog", network: "lan" },
];

test("a network is found by its name, or with its project where there are several", () => {
  expect(findNetwork(all, "back")).toEqual({ project: "shop", network: "back" });
  expect(findNetwork(all, "blog/lan")).toEqual({ project: "blog", network: "lan" });
});

test.each([
  ["lan", "several projects have a network lan: write shop/lan or blog/lan"],
  ["bcak", "there is no network bcak; did you mean back?"],
  ["shop/front", "there is no network shop/front; networks: shop/lan, shop/back, blog/lan"],
])("%s is refused with what is meant", (name, message) => {
  expect(() => findNetwork(all, name)).toThrow(message);
});

test("where there are no networks, that is said", () => {
  expect(() => findNetwork([], "lan")).toThrow("there is no network lan; there are no networks");
});
