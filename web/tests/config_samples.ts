/** Configs for tests. */

import type { Config } from "../src/api/types";
import config from "../src/generated/config.json";

const DEFAULTS = Object.fromEntries(
  Object.entries(config.schema.properties).map(([name, field]) => [name, field.default]),
) as Config;

/** Return the default config with changes. */
export function configWith(changes: Partial<Config>): Config {
  return { ...DEFAULTS, ...changes };
}
