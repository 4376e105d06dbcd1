"""An experiment: runs with every combination of some settings, and their results side by side.

Start a server in another terminal:

    energy-flow serve
    python examples/sweep.py http://127.0.0.1:8000

The settings are in sweep.toml beside this file. The model is an untrained one, whose flows
take many steps.
"""

import sys
import tomllib
from pathlib import Path

from energy_flow.client import FlowClient

HERE = Path(__file__).parent
URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"

document = tomllib.loads((HERE / "sweep.toml").read_text())

with FlowClient(URL) as client:
    # A model for rows of 384 numbers; a second run of this program finds it.
    if document["model"] not in [model.name for model in client.models()]:
        client.create_model(document["model"], config={"embedding_dim": 384})

    # The rows that all runs of the experiment simulate.
    client.datasets.put(document["dataset"], HERE / "data" / "wordnet_256.safetensors")

    # A trial is one run: one combination of the swept settings with one seed.
    experiment = client.experiments.create_from(document)
    print(f"{experiment.name}: {experiment.trials.total} trials of {', '.join(experiment.fields)}")

    # Watching continues when the connection breaks or the server restarts.
    for event in client.experiments.watch(experiment.name):
        if event.trial is not None and event.trial.ended:
            print(f"trial {event.trial.trial} {event.trial.state}", dict(event.trial.parameters))

    # A point is one combination; its figures are means over its seeds.
    points = client.experiments.results(experiment.name, of="points").to_pandas()
    print(points[[*experiment.fields, "seeds", "spawned.mean", "spawned.std"]])

    # A trial is a run as any other, with outputs and a trace.
    trial = client.experiments.trial(experiment.name, 7)
    assert trial.run_id is not None
    births = client.trace(trial.run_id, kind="spawn", limit=5)
    print("steps of the first births in trial 7", births["step"].tolist())
