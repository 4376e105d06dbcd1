/** The time that the view shows, and how fast it advances. */

export const SPEEDS = [0.25, 0.5, 1, 2, 4] as const;

export class Player {
  time = 0;
  playing = false;
  /** Steps a second. */
  speed = 1;
  readonly steps: number;
  readonly #listeners = new Set<() => void>();

  constructor(steps: number) {
    this.steps = steps;
  }

  /** Call `listener` after every change; return a function that ends this. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  seek(time: number): void {
    this.time = Math.max(0, Math.min(this.steps, time));
    this.#notify();
  }

  /** Move to the next whole step in a direction, and stop there. */
  step(direction: 1 | -1): void {
    this.playing = false;
    this.seek(direction > 0 ? Math.floor(this.time + 1) : Math.ceil(this.time - 1));
  }

  toggle(): void {
    this.playing = !this.playing;
    if (this.playing && this.time >= this.steps) {
      this.time = 0;
    }
    this.#notify();
  }

  setSpeed(speed: number): void {
    this.speed = speed;
    this.#notify();
  }

  /** Advance the time, if the player is playing. */
  advance(milliseconds: number): void {
    if (!this.playing) {
      return;
    }
    // A browser may draw no frames for a while; playing then continues from the same time.
    this.time += (Math.min(milliseconds, 100) / 1000) * this.speed;
    if (this.time >= this.steps) {
      this.time = this.steps;
      this.playing = false;
    }
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) {
      listener();
    }
  }
}
