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

export function Waiting({ what }: { what: string }) {
  return (
    <p class="waiting" role="status">
      {what}…
    </p>
  );
}
