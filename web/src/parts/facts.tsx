import type { ComponentChildren } from "preact";

const MAX_LENGTH = 24;
const MAX_WORD_LENGTH = 16;

/** Short values side by side, each below its name. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name} class={typeof value === "string" && isLong(value) ? "wide" : ""}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function isLong(text: string): boolean {
  return text.length > MAX_LENGTH || text.split(" ").some((word) => word.length > MAX_WORD_LENGTH);
}
