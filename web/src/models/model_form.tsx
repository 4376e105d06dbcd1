import { useEffect, useRef, useState } from "preact/hooks";
import { newKey } from "../api/http";
import { createModel } from "../api/models";
import type { Fault, ModelBody } from "../api/types";
import { type Preset, PRESETS } from "../generated/choices";
import { FieldErrors } from "../parts/field_errors";
import { parseNumber } from "../text/entries";
import { RequestErrors, NO_REFUSAL, type Refusal, toRefusal } from "../try/request_errors";
import { TextField } from "../try/request_fields";
import { parseSettings } from "./settings";

const FIELDS = ["name", "preset", "config", "model_seed"];

/** A form for a new, untrained model. */
export function ModelForm({ onCreated }: { onCreated: () => void }) {
  const [name, setName] = useState("");
  const [preset, setPreset] = useState<Preset>(PRESETS[0]);
  const [settings, setSettings] = useState("");
  const [seed, setSeed] = useState("");
  const [refusal, setRefusal] = useState<Refusal>(NO_REFUSAL);
  const [sending, setSending] = useState(false);
  const key = useRef("");
  useEffect(() => {
    // The same request sent twice, after a lost answer, makes one model.
    key.current = newKey();
  }, [name, preset, settings, seed]);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const body: ModelBody = {
      name: name.trim(),
      preset,
      config: parseSettings(settings),
      ...(seed.trim() !== "" && { model_seed: parseNumber(seed) }),
    };
    setSending(true);
    try {
      await createModel(body, key.current);
      setName("");
      setRefusal(NO_REFUSAL);
      onCreated();
    } catch (error) {
      setRefusal(toRefusal(error));
    } finally {
      setSending(false);
    }
  };
  const { faults } = refusal;
  const about = (field: string): string[] | undefined => {
    const messages = faults.filter(({ loc }) => loc[0] === field).map(describeFault);
    return messages.length > 0 ? messages : undefined;
  };
  const rest = faults.filter(({ loc }) => !FIELDS.includes(String(loc[0])));
  return (
    <details class="fold model-form">
      <summary>New model</summary>
      <form aria-label="New model" onSubmit={(event) => void submit(event)} noValidate>
        <TextField
          id="model-name"
          label="name"
          text={name}
          onText={setName}
          help="letters, digits, dots, dashes and underscores"
          errors={about("name")}
        />
        <div class="field">
          <label for="model-preset">preset</label>
          <select
            id="model-preset"
            value={preset}
            onChange={(event) => setPreset(event.currentTarget.value as Preset)}
          >
            {PRESETS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
          <FieldErrors messages={about("preset")} />
        </div>
        <div class="field">
          <label for="model-settings">settings</label>
          <textarea
            id="model-settings"
            rows={4}
            spellcheck={false}
            placeholder={"embedding_dim = 384\nlattice_width = 16"}
            value={settings}
            aria-invalid={about("config") !== undefined}
            aria-describedby="model-settings-message"
            onInput={(event) => setSettings(event.currentTarget.value)}
          />
          <div id="model-settings-message" class="field-help">
            <FieldErrors messages={about("config")} />
            <p class="quiet">what differs from the preset, one a line</p>
          </div>
        </div>
        <TextField
          id="model-seed"
          label="seed of the weights"
          text={seed}
          onText={setSeed}
          errors={about("model_seed")}
        />
        <RequestErrors refusal={refusal} rest={rest.map(describeFault)} />
        <button class="button-main" type="submit" disabled={sending}>
          {sending ? "Making…" : "Make the model"}
        </button>
      </form>
    </details>
  );
}

/** Return a message with the name of the setting that it is about. */
function describeFault({ loc, msg }: Fault): string {
  const setting = loc.slice(1).join(".");
  return setting === "" ? msg : `${setting}: ${msg}`;
}
