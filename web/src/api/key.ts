/** The API key: kept for this tab only, asked for once however many requests need it. */

const ITEM = "energy-flow-api-key";

type Ask = (refused: boolean) => Promise<string>;

let ask: Ask | null = null;
let asking: Promise<void> | null = null;

export function storedKey(): string | null {
  return sessionStorage.getItem(ITEM);
}

export function forgetKey(): void {
  sessionStorage.removeItem(ITEM);
}

/** Names who asks the person; `refused` tells that a key was tried. */
export function onKeyNeeded(asker: Ask): void {
  ask = asker;
}

/** Waits until there is another key than the one that was refused. */
export async function askForKey(refused: string | null): Promise<void> {
  // Another request may have asked, and been answered, while this one was on its way.
  if (storedKey() !== refused) {
    return;
  }
  if (asking === null) {
    if (ask === null) {
      throw new Error("The server wants an API key.");
    }
    asking = ask(refused !== null)
      .then((key) => sessionStorage.setItem(ITEM, key))
      .finally(() => {
        asking = null;
      });
  }
  await asking;
}
