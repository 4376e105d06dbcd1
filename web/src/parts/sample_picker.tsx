import { setValues } from "../route";

/** Chooses the sample that the page is about. */
export function SamplePicker({ samples, sample }: { samples: number; sample: number }) {
  const choose = (value: number): void => {
    if (Number.isInteger(value) && value >= 0 && value < samples) {
      setValues({ sample: value });
    }
  };
  return (
    <div class="sample-picker">
      <button
        type="button"
        aria-label="Sample before"
        disabled={sample <= 0}
        onClick={() => choose(sample - 1)}
      >
        ‹
      </button>
      <label>
        sample
        <input
          type="number"
          min={0}
          max={samples - 1}
          step={1}
          value={sample}
          onChange={(event) => choose(event.currentTarget.valueAsNumber)}
        />
      </label>
      <span class="quiet">of {samples}</span>
      <button
        type="button"
        aria-label="Next sample"
        disabled={sample >= samples - 1}
        onClick={() => choose(sample + 1)}
      >
        ›
      </button>
    </div>
  );
}
