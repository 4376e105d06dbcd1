"""A simulation on a server, and what the server keeps of it.

Start a server in another terminal. The sample data has 384 components, so its model must have too:

    energy-flow serve --set embedding_dim=384
    python examples/through_a_server.py http://127.0.0.1:8000

This program needs no torch: the client sends the embeddings, and the server simulates.
"""

import sys
from pathlib import Path

from safetensors.numpy import load_file

from energy_flow.client import FlowClient, ProblemError

DATA = Path(__file__).parent / "data"
URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"

embeddings = load_file(DATA / "wordnet_256.safetensors")["inputs"][:8]

with FlowClient(URL) as client:
    # What the run would need; nothing is simulated.
    estimate = client.dry_run(embeddings)
    print(f"{estimate.flows:,} initial flows, {estimate.predicted_bytes:,} bytes predicted")

    # The run, with less noise than the model's own config has.
    result = client.simulate(embeddings, seed=7, options={"noise_std": 0.1})
    print("shape of the surfaces", result.surface.shape)
    print("exits by plane", dict(result.metrics.planes))

    # The server stores the run, so its outputs and trace records can be fetched later.
    assert result.run_id is not None
    births = client.trace(result.run_id, kind="spawn", sample=3, limit=5)
    print("steps of the first births in sample 3", births["step"].tolist())

    # A request that is wrong is refused with every fault.
    try:
        client.simulate([[1.0, 2.0, 3.0]])
    except ProblemError as problem:
        print(f"refused as expected: {problem}")
