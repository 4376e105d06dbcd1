import { AblationPanel } from "../ablations/ablation_panel";
import { getModel, modelPath } from "../api/models";
import type { Model } from "../api/types";
import { Download } from "../parts/download";
import { Facts } from "../parts/facts";
import { useLoad, useTitle } from "../parts/hooks";
import { Missing, Notice, Waiting } from "../parts/notice";
import { formatCount, formatNumber, formatTime } from "../text/numbers";
import { SampleForm } from "../try/sample_form";

/** One model: its facts, a run of its sample, and what its flows do. */
export function ModelPage({ name }: { name: string }) {
  const { value: model, failure } = useLoad((signal) => getModel(name, signal), [name]);
  useTitle(name);
  if (model === null) {
    return failure === null ? (
      <Waiting what="Loading the model" />
    ) : (
      <Missing failure={failure} href="#/data" back="All models" />
    );
  }
  return (
    <>
      <div class="page-head">
        <div>
          <p class="crumb">
            <a href="#/data">Data</a>
          </p>
          <h1>{model.name}</h1>
          <p class="run-line quiet">
            {model.trained ? "trained" : "untrained"}, {model.loaded ? "loaded" : "not loaded"}
            {model.read_only && ", read-only"}
          </p>
        </div>
        <div class="actions">
          <Download
            path={`${modelPath(name)}?format=safetensors`}
            file={`${name}.safetensors`}
            of={name}
          >
            Download
          </Download>
        </div>
      </div>
      {model.description !== null && <p>{model.description}.</p>}
      {!model.trained && (
        <Notice tone="hint">
          The model is untrained: its weights are random, and flows differ mostly by noise.
        </Notice>
      )}
      {model.warnings.map((text) => (
        <Notice key={text} tone="warning">
          {text}
        </Notice>
      ))}
      <Facts facts={factsOf(model)} />
      {model.sample_url !== null && <SampleForm model={model} />}
      <AblationPanel model={model} />
    </>
  );
}

function factsOf({ config, digest, created_at, output_width, sample_url }: Model) {
  return [
    ["lattice", `${config.lattice_width} × ${config.lattice_height} × ${config.lattice_depth}`],
    ["embeddings", `${formatCount(config.embedding_dim)} → ${formatCount(output_width)}`],
    ["mapper", config.mapper],
    ["output reads", config.output_planes === "both" ? "both planes" : "planes merged"],
    ["energy update", config.energy_update],
    ["sensing", config.sensing],
    ["aggregation", config.aggregation_mode],
    ["most steps", formatCount(config.max_steps ?? config.lattice_depth)],
    ["spawning", config.spawn.mode],
    ["noise", formatNumber(config.noise_std)],
    ["field strength", formatNumber(config.field_strength)],
    ["precision", config.precision],
    ["created", sample_url === null ? formatTime(created_at) : "with Energy Flow"],
    ["digest", digest],
  ] as const;
}
