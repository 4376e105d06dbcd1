/** The fields of a config as texts, by dotted names. */

/** Return every field of nested options or of a config as text; nested names are joined by dots. */
export function flattenFields(fields: object, prefix = ""): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [name, value] of Object.entries(fields) as [string, unknown][]) {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [inner, text] of flattenFields(value, `${prefix}${name}.`)) {
        flat.set(inner, text);
      }
    } else {
      flat.set(prefix + name, formatField(value));
    }
  }
  return flat;
}

function formatField(value: unknown): string {
  if (Array.isArray(value)) {
    return value.map(formatField).join(", ") || "none";
  }
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}
