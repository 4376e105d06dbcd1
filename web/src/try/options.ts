/** The options of a run: the run-time fields of the config, as its JSON schema describes them. */

import type { Config } from "../api/types";
import config from "../generated/config.json";
import { parseNumber, splitList } from "../text/entries";

interface FieldSchema {
  $ref?: string | undefined;
  anyOf?: FieldSchema[] | undefined;
  type?: string | undefined;
  enum?: string[] | undefined;
  items?: FieldSchema | undefined;
  properties?: Record<string, FieldSchema> | undefined;
  description?: string | undefined;
  minimum?: number | undefined;
  exclusiveMinimum?: number | undefined;
  maximum?: number | undefined;
}

type Definitions = Readonly<Record<string, FieldSchema>>;

/** The JSON schema of a config, and which of its fields may be set for one run. */
interface ConfigDescription {
  run_fields: readonly string[];
  schema: { $defs: Definitions; properties: Readonly<Record<string, FieldSchema>> };
}

export interface Option {
  /** Dotted name in the config. */
  name: string;
  label: string;
  /** What it is, and its range; may be empty. */
  help: string;
  kind: "number" | "boolean" | "choice" | "list" | "text";
  /** The values that it can have; empty where they are not a closed list. */
  choices: readonly string[];
  isNullable: boolean;
}

interface OptionGroup {
  title: string;
  help: string;
  options: readonly Option[];
}

/** A run has a field of its own for the seed. */
const LEFT_OUT: readonly string[] = ["seed"];
/** Upper bounds from here on are those of the number type. */
const MAX_INT32 = 2 ** 31 - 1;

/** Groups in the form of fields that have none in the config; others are "general". */
const TITLES: Readonly<Record<string, string>> = {
  displacement_scale: "movement",
  max_displacement: "movement",
  field_strength: "movement",
  noise_std: "movement",
  noise_on_z: "movement",
  boundary: "movement",
  min_displacement: "movement",
  aggregation_mode: "surface",
  background: "surface",
} satisfies Partial<Record<keyof Config, string>>;

/** The groups of fields of the config; those of fields outside a group come first. */
export const OPTION_GROUPS: readonly OptionGroup[] = buildGroups(config);
export const OPTIONS: readonly Option[] = OPTION_GROUPS.flatMap(({ options }) => options);

/** Return the run-time fields of a config by group. */
export function buildGroups({ run_fields, schema }: ConfigDescription): OptionGroup[] {
  const { $defs: definitions, properties } = schema;
  const loose = new Map<string, Option[]>([["general", []]]);
  const groups: OptionGroup[] = [];
  for (const name of run_fields.filter((each) => !LEFT_OUT.includes(each))) {
    const field = resolve(properties[name], definitions);
    if (field.properties === undefined) {
      const title = TITLES[name] ?? "general";
      loose.set(title, [...(loose.get(title) ?? []), buildOption(name, name, field)]);
    } else {
      const members = Object.entries(field.properties).map(([member, inner]) =>
        buildOption(`${name}.${member}`, member, resolve(inner, definitions)),
      );
      groups.push({ title: name, help: field.description ?? "", options: members });
    }
  }
  const first = Array.from(loose, ([title, options]) => ({ title, help: "", options }));
  return [...first, ...groups];
}

/** Return a field with its definitions in place of references. A nullable field has `anyOf`. */
function resolve(field: FieldSchema, definitions: Definitions): FieldSchema {
  const parts = [
    field.anyOf?.find(({ type }) => type !== "null"),
    definitions[field.$ref?.split("/").at(-1) ?? ""],
  ].filter((part) => part !== undefined);
  const resolved = { ...parts.map((part) => resolve(part, definitions))[0], ...field };
  return resolved.items === undefined
    ? resolved
    : { ...resolved, items: resolve(resolved.items, definitions) };
}

function buildOption(name: string, member: string, field: FieldSchema): Option {
  const common = {
    name,
    label: member.replaceAll("_", " "),
    help: [field.description, describeRange(field)].filter(Boolean).join("; "),
    isNullable: field.anyOf?.some(({ type }) => type === "null") ?? false,
  };
  if (field.enum !== undefined) {
    return { ...common, kind: "choice", choices: field.enum };
  }
  switch (field.type) {
    case "boolean":
      return { ...common, kind: "boolean", choices: ["true", "false"] };
    case "integer":
    case "number":
      return { ...common, kind: "number", choices: [] };
    case "array":
      return { ...common, kind: "list", choices: field.items?.enum ?? [] };
    default:
      return { ...common, kind: "text", choices: [] };
  }
}

function describeRange({ minimum, exclusiveMinimum, maximum }: FieldSchema): string {
  const most = maximum !== undefined && maximum < MAX_INT32 ? maximum : undefined;
  if (minimum !== undefined && most !== undefined) {
    return `${minimum} to ${most}`;
  }
  const least =
    minimum !== undefined
      ? `at least ${minimum}`
      : exclusiveMinimum !== undefined
        ? `above ${exclusiveMinimum}`
        : "";
  return [least, most === undefined ? "" : `at most ${most}`].filter(Boolean).join(", ");
}

/** Texts by the dotted name of their option; an empty text leaves the model's value. */
export type EnteredOptions = Readonly<Record<string, string>>;

/** Return the options to send. A text that cannot be read is sent as it is: the server refuses it. */
export function collectOptions(entered: EnteredOptions): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const option of OPTIONS) {
    const text = entered[option.name]?.trim() ?? "";
    if (text !== "") {
      options[option.name] = parseOption(option, text);
    }
  }
  return options;
}

/** Return the value that a text stands for. */
export function parseOption({ kind, isNullable }: Option, text: string): unknown {
  if (isNullable && text === "null") {
    return null;
  }
  switch (kind) {
    case "number":
      return parseNumber(text);
    case "boolean":
      return ["true", "false"].includes(text) ? text === "true" : text;
    case "list":
      return splitList(text);
    default:
      return text;
  }
}

/** Return the model's own value as text, shown where nothing is entered; empty for null. */
export function getModelValue(config: Partial<Config> | null, name: string): string {
  let value: unknown = config;
  for (const part of name.split(".")) {
    value = (value as Record<string, unknown> | null | undefined)?.[part];
  }
  if (Array.isArray(value)) {
    return value.join(", ");
  }
  return ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
}
