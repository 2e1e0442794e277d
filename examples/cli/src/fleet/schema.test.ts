import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hyperfileSchema } from "@hyperfile/broker";
import { guestKinds } from "@hyperfile/machine/guests";
import { expect, it } from "vitest";

it("the schema for editors is the one that this program reads by; `hyperfile schema` prints it anew", () => {
  const file = fileURLToPath(new URL("../../hyperfile.schema.json", import.meta.url));
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(hyperfileSchema(guestKinds));
});
