/** Types of requests and answers, from the OpenAPI document; scripts/generate.sh sets the folder. */
export default {
  input: "node_modules/.cache/openapi.json",
  output: {
    path: process.env.FOLDER,
    clean: false,
    entryFile: false,
    fileName: { name: "schema", suffix: null },
  },
  plugins: ["@hey-api/typescript"],
  logs: { file: false },
};
