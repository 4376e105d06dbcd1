import {
  DATASET_FILES,
  DATASET_SUFFIXES,
  datasetPath,
  deleteDataset,
  listDatasets,
  uploadDataset,
} from "../api/datasets";
import {
  DEFAULT_MODEL,
  deleteModel,
  listModels,
  loadModel,
  modelPath,
  uploadModel,
} from "../api/models";
import { getSystem } from "../api/runs";
import { Download } from "../parts/download";
import { ModelForm } from "../models/model_form";
import { Paging } from "../lists/paging";
import { useActions, useTitle, useWatch } from "../parts/hooks";
import { CreatedAt } from "../parts/created_at";
import { Notice, Waiting } from "../parts/notice";
import { UploadForm } from "../parts/upload_form";
import { linkTo, type Route } from "../route";
import { formatBytes, formatCount } from "../text/numbers";

const PAGE = 50;
const PERIOD_MS = 5000;

/** Datasets and models. */
export function DataPage({ route }: { route: Route }) {
  useTitle("Data");
  const store = useWatch(getSystem, [], PERIOD_MS).value?.store;
  return (
    <>
      <div class="page-head">
        <h1>Datasets and models</h1>
      </div>
      <section class="panel">
        <h2>Datasets</h2>
        {store !== undefined && (
          <Stored bytes={store.datasets_bytes} limit={store.max_datasets_bytes} />
        )}
        <Datasets route={route} />
      </section>
      <section class="panel">
        <h2>Models</h2>
        {store !== undefined && (
          <Stored bytes={store.models_bytes} limit={store.max_models_bytes} />
        )}
        <Models />
      </section>
    </>
  );
}

/** The size of everything of a kind, and the limit beyond which the server refuses more. */
function Stored({ bytes, limit }: { bytes: number; limit: number | null }) {
  const most = limit === null ? "" : ` of at most ${formatBytes(limit)}`;
  return <p class="quiet">{`Stored: ${formatBytes(bytes)}${most}`}</p>;
}

function Datasets({ route }: { route: Route }) {
  const cursor = route.parameters.get("cursor");
  const listed = useWatch((signal) => listDatasets(cursor, PAGE, signal), [cursor], PERIOD_MS);
  const { failure, act } = useActions(listed.reload);
  const { value: page, now } = listed;
  return (
    <>
      {(failure ?? listed.failure) !== null && (
        <Notice tone="problem">{failure ?? listed.failure}</Notice>
      )}
      <UploadForm
        what="dataset"
        accept={DATASET_FILES}
        hasColumn
        send={uploadDataset}
        onDone={listed.reload}
      >
        {`Rows of numbers: ${DATASET_SUFFIXES.join(", ")}`}
      </UploadForm>
      {page === null && listed.loading && <Waiting what="Loading datasets" />}
      {page?.items.length === 0 && <p class="quiet">There is no dataset yet.</p>}
      {page !== null && page.items.length > 0 && (
        <div class="table-frame">
          <table>
            <caption class="hidden">Datasets, newest first</caption>
            <thead>
              <tr>
                <th scope="col">name</th>
                <th scope="col" class="number">
                  rows
                </th>
                <th scope="col" class="number">
                  row length
                </th>
                <th scope="col" class="number">
                  target length
                </th>
                <th scope="col" class="number">
                  size
                </th>
                <th scope="col">created</th>
                <th scope="col">
                  <span class="hidden">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {page.items.map((dataset) => (
                <tr key={dataset.name}>
                  <td title={dataset.digest}>{dataset.name}</td>
                  <td class="number">{formatCount(dataset.rows)}</td>
                  <td class="number">{formatCount(dataset.dim)}</td>
                  <td class="number">
                    {dataset.targets_dim === null ? "–" : formatCount(dataset.targets_dim)}
                  </td>
                  <td class="number">{formatBytes(dataset.bytes)}</td>
                  <td>
                    <CreatedAt at={dataset.created_at} now={now} />
                  </td>
                  <td class="row-actions">
                    <Download
                      path={`${datasetPath(dataset.name)}?format=safetensors`}
                      file={`${dataset.name}.safetensors`}
                      of={dataset.name}
                    >
                      Download
                    </Download>
                    <button
                      type="button"
                      aria-label={`Delete ${dataset.name}`}
                      onClick={() => {
                        if (confirm(`Delete the dataset ${dataset.name}?`)) {
                          void act(deleteDataset(dataset.name));
                        }
                      }}
                    >
                      Delete
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {page !== null && <Paging route={route} page={page} />}
    </>
  );
}

function Models() {
  const listed = useWatch(listModels, [], PERIOD_MS);
  const { failure, act } = useActions(listed.reload);
  const { value: models, now } = listed;
  return (
    <>
      {(failure ?? listed.failure) !== null && (
        <Notice tone="problem">{failure ?? listed.failure}</Notice>
      )}
      <ModelForm onCreated={listed.reload} />
      <UploadForm what="model" accept=".safetensors" send={uploadModel} onDone={listed.reload}>
        A checkpoint, as .safetensors
      </UploadForm>
      {models === null && listed.loading && <Waiting what="Loading models" />}
      {models !== null && (
        <div class="table-frame">
          <table>
            <caption class="hidden">Models, newest first</caption>
            <thead>
              <tr>
                <th scope="col">name</th>
                <th scope="col">weights</th>
                <th scope="col">lattice</th>
                <th scope="col" class="number">
                  row length
                </th>
                <th scope="col">device</th>
                <th scope="col">created</th>
                <th scope="col">
                  <span class="hidden">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {models.map(
                ({ name, trained, loaded, config, output_width, digest, created_at, ...more }) => (
                  <tr key={name}>
                    <td title={digest}>
                      <a href={linkTo(["models", name])}>{name}</a>
                      {more.description !== null && (
                        <div class="quiet description">{more.description}</div>
                      )}
                    </td>
                    <td>
                      {trained ? "trained" : "untrained"}
                      {more.read_only && <div class="quiet">read-only</div>}
                    </td>
                    <td>
                      {config.lattice_width} × {config.lattice_height} × {config.lattice_depth}
                    </td>
                    <td class="number">
                      {formatCount(config.embedding_dim)}
                      {output_width !== config.embedding_dim && ` → ${formatCount(output_width)}`}
                    </td>
                    <td>{loaded ? "loaded" : "–"}</td>
                    <td>
                      {more.sample_url === null ? (
                        <CreatedAt at={created_at} now={now} />
                      ) : (
                        "with Energy Flow"
                      )}
                    </td>
                    <td class="row-actions">
                      {name !== DEFAULT_MODEL && (
                        <button
                          type="button"
                          aria-label={`${loaded ? "Unload" : "Load"} ${name}`}
                          onClick={() => void act(loadModel(name, !loaded))}
                        >
                          {loaded ? "Unload" : "Load"}
                        </button>
                      )}
                      <Download
                        path={`${modelPath(name)}?format=safetensors`}
                        file={`${name}.safetensors`}
                        of={name}
                      >
                        Download
                      </Download>
                      {!more.read_only && (
                        <button
                          type="button"
                          aria-label={`Delete ${name}`}
                          onClick={() => {
                            if (confirm(`Delete the model ${name}?`)) {
                              void act(deleteModel(name));
                            }
                          }}
                        >
                          Delete
                        </button>
                      )}
                    </td>
                  </tr>
                ),
              )}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
