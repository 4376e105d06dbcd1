/** The API key. It is kept for this tab alone; many requests ask for it once. */

const ITEM = "energy-flow-api-key";

type Prompt = (refused: boolean) => Promise<string>;

let prompt: Prompt | null = null;
let pending: Promise<void> | null = null;

export function storedKey(): string | null {
  return sessionStorage.getItem(ITEM);
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
      .then((key) => sessionStorage.setItem(ITEM, key))
      .finally(() => {
        pending = null;
      });
  }
  await pending;
}
