/** A static server as pages meet them: at a path of its own, with or without headers for isolation, with a policy. */
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** How it serves. */
export interface StaticOptions {
  /** Path under which the folder lies, with slashes at both ends. */
  readonly path?: string;
  /** Whether pages are cross-origin isolated. */
  readonly isIsolated?: boolean;
  /** Content security policy. */
  readonly policy?: string;
}

/** Serves a folder on a port of its own. */
export class StaticServer {
  private constructor(
    private readonly server: Server,
    /** Address of the folder, with a slash at its end. */
    readonly url: string,
  ) {}

  static async start(folder: string, options: StaticOptions = {}): Promise<StaticServer> {
    const { path = "/", isIsolated = false, policy } = options;
    const server = createServer(async ({ url = "/" }, response) => {
      const { pathname } = new URL(url, "http://localhost");
      if (isIsolated) {
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      }
      if (policy !== undefined) response.setHeader("Content-Security-Policy", policy);
      const name = normalize(decodeURIComponent(pathname.slice(path.length)) || "index.html");
      try {
        if (!pathname.startsWith(path) || name.startsWith("..")) throw new Error("outside");
        const bytes = await readFile(join(folder, name));
        response.setHeader("Content-Type", types[extname(name)] ?? "application/octet-stream");
        response.end(bytes);
      } catch {
        response.statusCode = 404;
        response.end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new StaticServer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
