import base from "./vitest.config.js";

/** Tests that need a network, or longer than the default suite may take: `npx vitest run --config vitest.network.config.ts NAME`. */
export default {
  ...base,
  test: { ...base.test, include: ["{packages,examples}/*/test/*.network.ts"], testTimeout: 600_000 },
};
