import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../service/web/dist",
    emptyOutDir: true,
    target: "es2022",
    // The bundle is committed, so its text must not depend on the machine that builds it.
    reportCompressedSize: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    // Separate chunks for libraries: their names and bytes stay the same when the pages change.
    rolldownOptions: {
      input: ["index.html", "docs.html"],
      output: {
        codeSplitting: {
          groups: [
            { name: "three", test: /node_modules\/three\// },
            { name: "swagger", test: /node_modules\/swagger-ui-dist\// },
          ],
        },
      },
    },
    license: { fileName: "licenses.md" },
  },
  worker: { format: "es" },
  // For `npm run dev`: the pages come from Vite, the data from a server on port 8000.
  server: {
    proxy: { "/v1": "http://127.0.0.1:8000", "/readyz": "http://127.0.0.1:8000" },
  },
  test: {
    environment: "happy-dom",
    include: ["tests/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    setupFiles: ["tests/timeouts.ts"],
    testTimeout: 120_000,
  },
});
