import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Tests that need a network, or longer than the default suite may take. */
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  test: { include: ["test/*.network.ts"], testTimeout: 600_000 },
});
