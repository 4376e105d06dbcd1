import { setParameters } from "../route";

/** Choose the sample that the page shows. */
export function SamplePicker({ samples, sample }: { samples: number; sample: number }) {
  const choose = (value: number): void => {
    if (Number.isInteger(value) && value >= 0 && value < samples) {
      // A flow and a step belong to a sample.
      setParameters({ sample: value, flow: null, step: null });
    }
  };
  return (
    <div class="sample-picker">
      <button
        type="button"
        aria-label="Previous sample"
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
