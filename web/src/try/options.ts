/** The options of a run that the form offers, and what is sent of them. */

import type { Config } from "../api/types";
import { asValue } from "../text/entries";

interface BaseOption {
  /** Dotted name, as the config has it. */
  name: string;
  label: string;
  help?: string;
}

export type Option =
  | (BaseOption & { kind: "number" })
  | (BaseOption & { kind: "switch" })
  | (BaseOption & { kind: "choice"; choices: readonly string[] });

export interface OptionGroup {
  title: string;
  options: readonly Option[];
}

export const OPTION_GROUPS: readonly OptionGroup[] = [
  {
    title: "Movement",
    options: [
      { name: "max_steps", label: "max steps", kind: "number", help: "empty: the lattice's depth" },
      {
        name: "projection_age",
        label: "projection age",
        kind: "number",
        help: "older flows are moved to the nearest plane",
      },
      { name: "noise_std", label: "noise", kind: "number", help: "standard deviation per axis" },
      { name: "noise_on_z", label: "noise on z", kind: "switch" },
      { name: "displacement_scale", label: "displacement scale", kind: "number" },
      {
        name: "max_displacement",
        label: "max displacement",
        kind: "number",
        help: "per axis and step",
      },
      {
        name: "min_displacement",
        label: "min displacement",
        kind: "number",
        help: "shorter steps stall; 0 is off",
      },
      { name: "boundary", label: "walls", kind: "choice", choices: ["reflect", "clamp"] },
    ],
  },
  {
    title: "Spawning",
    options: [
      {
        name: "spawn.mode",
        label: "mode",
        kind: "choice",
        choices: ["threshold", "percentile", "off"],
      },
      {
        name: "spawn.threshold",
        label: "threshold",
        kind: "number",
        help: "length of a step that spawns a child is twice this",
      },
      { name: "spawn.percentile", label: "percentile", kind: "number" },
      {
        name: "spawn.max_children",
        label: "max children",
        kind: "number",
        help: "of one parent in one step",
      },
      { name: "max_active_flows", label: "max active flows", kind: "number", help: "of a sample" },
    ],
  },
  {
    title: "Convergence",
    options: [
      { name: "convergence.enabled", label: "on", kind: "switch" },
      {
        name: "convergence.threshold",
        label: "threshold",
        kind: "number",
        help: "share of completed flows",
      },
      { name: "convergence.min_steps", label: "min steps", kind: "number" },
      { name: "convergence.window", label: "window", kind: "number" },
      { name: "convergence.patience", label: "patience", kind: "number" },
      { name: "convergence.min_improvement", label: "min improvement", kind: "number" },
    ],
  },
  {
    title: "Trace and numbers",
    options: [
      {
        name: "trace.capacity",
        label: "trace capacity",
        kind: "number",
        help: "records a sample; 0 is off",
      },
      {
        name: "trace.keep",
        label: "keep",
        kind: "choice",
        choices: ["latest", "earliest", "lossless"],
      },
      {
        name: "aggregation_mode",
        label: "tally",
        kind: "choice",
        choices: ["weighted_v2", "legacy"],
      },
      { name: "precision", label: "precision", kind: "choice", choices: ["float32", "bfloat16"] },
      {
        name: "deterministic",
        label: "deterministic",
        kind: "switch",
        help: "no noise, the config's seed",
      },
      { name: "batch_invariant", label: "batch invariant", kind: "switch" },
    ],
  },
];

/** What was entered, by dotted name; what was left alone is not there. */
export type Entered = Readonly<Record<string, string>>;

/** The options to send. A text that is no number goes as it is, and the guard says so. */
export function optionsOf(entered: Entered): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const { options: group } of OPTION_GROUPS) {
    for (const option of group) {
      const text = entered[option.name]?.trim() ?? "";
      if (text !== "") {
        options[option.name] = option.kind === "choice" ? text : asValue(text);
      }
    }
  }
  return options;
}

/** The model's own value, shown where nothing is entered. */
export function inherited(config: Config | null, name: string): string {
  let value: unknown = config;
  for (const part of name.split(".")) {
    value = (value as Record<string, unknown> | null | undefined)?.[part];
  }
  return ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
}
