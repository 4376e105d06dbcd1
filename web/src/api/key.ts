/** The API key. It is kept for this tab, or in the browser; many requests ask for it once. */

const ITEM = "energy-flow-api-key";

/** A key, and whether it is kept in the browser. */
export interface KeyEntry {
  key: string;
  isKept: boolean;
}

type Prompt = (refused: boolean) => Promise<KeyEntry>;

let prompt: Prompt | null = null;
let pending: Promise<void> | null = null;

export function storedKey(): string | null {
  return sessionStorage.getItem(ITEM) ?? localStorage.getItem(ITEM);
}

/** Return whether the browser keeps a key for all its tabs. */
export function isKeyKept(): boolean {
  return localStorage.getItem(ITEM) !== null;
}

export function forgetKey(): void {
  sessionStorage.removeItem(ITEM);
  localStorage.removeItem(ITEM);
}

/** Set the function that asks for a key; `refused` is true after a key that was wrong. */
export function onKeyNeeded(show: Prompt): void {
  prompt = show;
}

/** Wait for another key than the one that was refused. */
export async function askForKey(refused: string | null): Promise<void> {
  // Another request may have got a key since this one was sent.
  if (storedKey() !== refused) {
    return;
  }
  if (pending === null) {
    if (prompt === null) {
      throw new Error("The server needs an API key.");
    }
    pending = prompt(refused !== null)
      .then(({ key, isKept }) => {
        forgetKey();
        (isKept ? localStorage : sessionStorage).setItem(ITEM, key);
      })
      .finally(() => {
        pending = null;
      });
  }
  await pending;
}
