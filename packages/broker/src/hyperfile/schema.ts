/**
 * The JSON schema (draft 7) of Hyperfiles, for editors and for the check of what is read. The one that is published beside
 * the package knows no particular guest: it marks by `x-names` where names of a program's own go. A program's schema has
 * them there.
 */
import general from "../../hyperfile.schema.json";
import type { GuestKinds } from "./guest-kinds.js";

/** Marks a text in the published schema that is a name of {@link GuestKinds}. */
const MARK = "x-names";

type Schema = Readonly<Record<string, unknown>>;

/** The schema for a program with these guests. A field for which the program has no names is no field of it. */
export function hyperfileSchema(guests: GuestKinds): Readonly<Record<string, unknown>> {
  const names: Readonly<Record<string, readonly string[]>> = {
    isas: guests.isas,
    shells: Object.keys(guests.shells),
    kernels: Object.keys(guests.kernels),
  };
  const fill = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(fill);
    if (typeof value !== "object" || value === null) return value;
    const { [MARK]: mark, ...rules } = value as Schema;
    const entries = Object.entries(rules)
      .filter(([, rule]) => !isWithout(rule, names))
      .map(([key, rule]): [string, unknown] => [key, fill(rule)]);
    const filled = Object.fromEntries(entries);
    if (typeof mark !== "string") return filled;
    // Kernels of one's own and files are right there, too.
    if (mark === "kernels") return { ...filled, examples: names[mark] };
    const { type: _, ...others } = filled;
    return { enum: names[mark], ...others };
  };
  return fill(general) as Schema;
}

/** Whether a field asks for a name where there is none. */
function isWithout(rule: unknown, names: Readonly<Record<string, readonly string[]>>): boolean {
  const mark = (rule as Schema | null)?.[MARK];
  return typeof mark === "string" && mark !== "kernels" && names[mark]!.length === 0;
}
