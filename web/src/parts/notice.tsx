import type { ComponentChildren } from "preact";

interface NoticeProps {
  tone: "problem" | "warning" | "hint";
  children: ComponentChildren;
}

/** A message in the page; screen readers read a problem at once. */
export function Notice({ tone, children }: NoticeProps) {
  return (
    <div class={`notice notice-${tone}`} role={tone === "problem" ? "alert" : undefined}>
      {children}
    </div>
  );
}

interface MissingProps {
  failure: string;
  /** Where else to go. */
  href: string;
  back: string;
}

/** A page whose resource could not be loaded, with a way back. */
export function Missing({ failure, href, back }: MissingProps) {
  return (
    <>
      <h1>Not shown</h1>
      <Notice tone="problem">{failure}</Notice>
      <p>
        <a href={href}>{back}</a>
      </p>
    </>
  );
}

export function Waiting({ what }: { what: string }) {
  return (
    <p class="waiting" role="status">
      {what}…
    </p>
  );
}
