/** From a request's method and address to an operation of the API, its parameters and its query. */
import { type Operation, type OperationId, operations } from "../../api/operations.js";

/** A request that can't be taken as it is. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  constructor(
    readonly code: "E_REQUEST" | "E_NOT_FOUND" | "E_BUSY" | "E_DISK",
    message: string,
  ) {
    super(message);
  }
}

/** What a request asks for. */
export interface Place {
  readonly operation: Operation & { readonly id: OperationId };
  /** Parameters in the path by name. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

/** Characters of an address that a message repeats. */
const SHOWN = 100;

const patterns = (operations as readonly Operation[]).map((operation) => ({
  operation: operation as Operation & { id: OperationId },
  names: [...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!),
  pattern: new RegExp(`^${operation.path.replaceAll(".", "\\.").replace(/\{\w+\}/g, "([^/]+)")}$`),
}));

/**
 * The operation that a request asks for.
 * @param address path and query, as the request's first line has them
 * @throws RequestError `E_REQUEST` for an address that is none, `E_NOT_FOUND` where there is nothing
 */
export function route(method: string, address: string): Place {
  const [pathname = "", ...rest] = address.split("?");
  const shown = pathname.slice(0, SHOWN);
  const here = patterns.filter(({ pattern }) => pattern.test(pathname));
  const found = here.find(({ operation }) => operation.method === method.toLowerCase());
  if (found === undefined) {
    const methods = here.map(({ operation }) => operation.method.toUpperCase()).join(", ");
    throw new RequestError(
      "E_NOT_FOUND",
      here.length === 0
        ? `there is nothing at ${shown}: see /v1/openapi.json`
        : `${shown} takes ${methods}, not ${method.toUpperCase()}`,
    );
  }
  const [, ...values] = found.pattern.exec(pathname)!;
  const path = Object.fromEntries(found.names.map((name, at) => [name, decode(values[at]!, shown)]));
  return { operation: found.operation, path, query: new URLSearchParams(rest.join("?")) };
}

/**
 * A whole number of a query.
 * @param most a larger one counts as this
 * @throws RequestError `E_REQUEST` for other text
 */
export function countIn(query: URLSearchParams, name: string, otherwise: number, most: number): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  if (!/^\d{1,15}$/.test(text))
    throw new RequestError("E_REQUEST", `${name}=${text.slice(0, SHOWN)} is impossible: give a whole number`);
  return Math.min(Number(text), most);
}

function decode(part: string, shown: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new RequestError(
      "E_REQUEST",
      `${shown} is no address: a % is not followed by the code of a character`,
    );
  }
}
