"""An experiment, from its file to its results: python examples/sweep.py http://127.0.0.1:8000

The server's model must take rows of 384 numbers: energy-flow serve --set embedding_dim=384
"""

import sys
import tomllib
from pathlib import Path

from energy_flow.client import FlowClient

HERE = Path(__file__).parent
URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"

document = tomllib.loads((HERE / "sweep.toml").read_text())

with FlowClient(URL) as client:
    client.datasets.put(document["dataset"], HERE / "data" / "wordnet_256.safetensors")
    experiment = client.experiments.create_from(document)
    print(f"{experiment.name}: {experiment.trials.total} trials of {', '.join(experiment.fields)}")

    # The connection may break and the server restart meanwhile.
    for event in client.experiments.watch(experiment.name):
        if event.trial is not None and event.trial.ended:
            print(f"trial {event.trial.trial} {event.trial.state}", dict(event.trial.parameters))

    points = client.experiments.results(experiment.name, of="points").to_pandas()
    print(points[[*experiment.fields, "seeds", "spawned.mean", "spawned.std"]])

    # A trial is a run like any other.
    trial = client.experiments.trial(experiment.name, 7)
    assert trial.run_id is not None
    births = client.trace(trial.run_id, kind="spawn", limit=5)
    print("first births of trial 7, at steps", births["step"].tolist())
