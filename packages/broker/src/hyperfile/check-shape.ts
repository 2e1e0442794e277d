/** Checks a Hyperfile against its JSON schema, with the names that its program has, and words what is wrong. */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { FieldPath, HyperfileDocument } from "./document.js";
import type { GuestKinds } from "./guest-kinds.js";
import { shortened } from "./message-text.js";
import { hyperfileSchema } from "./schema.js";
import { hint } from "./suggest.js";

const compiled = new WeakMap<GuestKinds, ValidateFunction>();

function validatorFor(guests: GuestKinds): ValidateFunction {
  const known = compiled.get(guests);
  if (known !== undefined) return known;
  const ajv = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true, strictTypes: false });
  ajv.addKeyword("x-expects");
  const validate = ajv.compile(hyperfileSchema(guests));
  compiled.set(guests, validate);
  return validate;
}

/** Adds a problem for everything in which the document departs from the schema; true if nothing does. */
export function checkShape(document: HyperfileDocument, guests: GuestKinds): boolean {
  const validate = validatorFor(guests);
  if (validate(document.value)) return true;
  const seen = new Set<string>();
  for (const error of validate.errors ?? []) {
    if (error.keyword === "propertyNames") continue;
    const problem = describe(error);
    // Several rules can refuse one value; the first says enough.
    const key = JSON.stringify(problem.path);
    if (seen.has(key)) continue;
    seen.add(key);
    document.add(problem.path, problem.message, problem.at);
  }
  return false;
}

interface Problem {
  readonly path: FieldPath;
  readonly message: () => string;
  readonly at: "value" | "name";
}

/** Path and message of one of the validator's errors. */
function describe(error: ErrorObject): Problem {
  const path = pathOf(error.instancePath);
  const params = error.params as Readonly<Record<string, unknown>>;
  const rules = (error.parentSchema ?? {}) as Readonly<Record<string, unknown>>;
  const at = "value";
  switch (error.keyword) {
    case "additionalProperties": {
      const name = String(params.additionalProperty);
      const valid = Object.keys((rules.properties as object | undefined) ?? {});
      return {
        path: [...path, name],
        message: () => `unknown field; ${hint(name, valid, "valid fields")}`,
        at: "name",
      };
    }
    case "required": {
      const name = String(params.missingProperty);
      return { path, message: () => `${name} is missing here`, at };
    }
    case "minProperties":
      return { path, message: () => "nothing is declared here: add at least one", at };
    case "enum": {
      const valid = (params.allowedValues as unknown[]).map(String);
      return {
        path,
        message: () => `${shown(error.data)} is unknown; ${hint(wordOf(error.data), valid, "valid")}`,
        at,
      };
    }
    case "type":
      return { path, message: () => `${shown(error.data)} is not ${expectation(rules)}`, at };
    case "not": {
      const name = error.propertyName;
      const message = () => "this name has a meaning in JavaScript: choose another";
      return name === undefined ? { path, message, at } : { path: [...path, name], message, at: "name" };
    }
    default: {
      if (error.propertyName !== undefined) {
        const name = error.propertyName;
        return { path: [...path, name], message: () => `the name is not ${expectation(rules)}`, at: "name" };
      }
      return { path, message: () => `${shown(error.data)} is not ${expectation(rules)}`, at };
    }
  }
}

function pathOf(pointer: string): (string | number)[] {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** A value as messages show it. */
function shown(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  return typeof value === "string"
    ? value === ""
      ? "an empty text"
      : `"${shortened(value)}"`
    : String(value);
}

/** A value as a word to compare with others. */
const wordOf = (value: unknown): string => (typeof value === "object" ? "" : String(value));

const typeWords: Readonly<Record<string, string>> = {
  object: "a mapping of names to values",
  array: "a list",
  string: "a text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  null: "nothing",
};

/** What a rule of the schema asks for. */
function expectation(rules: Readonly<Record<string, unknown>>): string {
  if (typeof rules["x-expects"] === "string") return rules["x-expects"];
  const { minimum, maximum, maxItems, minLength } = rules;
  const types = [rules.type].flat().filter((type) => type !== "null");
  const words = types.map((type) => typeWords[String(type)] ?? String(type)).join(" or ");
  if (minimum !== undefined && maximum !== undefined) return `${words} from ${minimum} to ${maximum}`;
  if (minimum !== undefined) return `${words} of at least ${minimum}`;
  if (maxItems !== undefined) return `${words} of at most ${maxItems}`;
  return minLength === undefined ? words : `${words} of at least one character`;
}
