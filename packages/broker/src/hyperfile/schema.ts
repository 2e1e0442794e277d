/** The schema that is published beside the package, for editors and for the check of what is read. */
import schema from "../../hyperfile.schema.json";

/** The published JSON schema (draft 7) of a Hyperfile. */
export const hyperfileSchema: Readonly<Record<string, unknown>> = schema;
