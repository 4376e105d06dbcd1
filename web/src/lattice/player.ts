/** Where in time the view is, and how fast it moves on. */

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

  /** Calls back after every change; returns how to stop that. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  seek(time: number): void {
    this.time = Math.max(0, Math.min(this.steps, time));
    this.#tell();
  }

  /** To the next whole step in a direction, and stops there. */
  step(direction: 1 | -1): void {
    this.playing = false;
    this.seek(direction > 0 ? Math.floor(this.time + 1) : Math.ceil(this.time - 1));
  }

  toggle(): void {
    this.playing = !this.playing;
    if (this.playing && this.time >= this.steps) {
      this.time = 0;
    }
    this.#tell();
  }

  setSpeed(speed: number): void {
    this.speed = speed;
    this.#tell();
  }

  /** Lets time pass. */
  pass(milliseconds: number): void {
    if (!this.playing) {
      return;
    }
    // After a pause of the browser's own, playing goes on where it was.
    this.time += (Math.min(milliseconds, 100) / 1000) * this.speed;
    if (this.time >= this.steps) {
      this.time = this.steps;
      this.playing = false;
    }
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      listener();
    }
  }
}
