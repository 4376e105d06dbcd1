"""Simulates on a server: python examples/through_a_server.py http://127.0.0.1:8000

The server's model must take rows of 384 numbers: energy-flow serve --set embedding_dim=384
"""

import sys
from pathlib import Path

from safetensors.numpy import load_file

from energy_flow.client import FlowClient, ProblemError

DATA = Path(__file__).parent / "data"
URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"

embeddings = load_file(DATA / "wordnet_256.safetensors")["inputs"][:8]

with FlowClient(URL) as client:
    estimate = client.dry_run(embeddings)
    print(f"{estimate.flows:,} flows, {estimate.predicted_bytes:,} bytes predicted")

    result = client.simulate(embeddings, seed=7, options={"noise_std": 0.1})
    print("surfaces", result.surface.shape, "exits by plane", dict(result.metrics.planes))

    # The server keeps the run: its outputs and records can be fetched again at any time.
    assert result.run_id is not None
    births = client.trace(result.run_id, kind="spawn", sample=3, limit=5)
    print("first births of sample 3, at steps", births["step"].tolist())

    try:
        client.simulate([[1.0, 2.0, 3.0]])
    except ProblemError as problem:
        print(f"refused as it should be: {problem}")
