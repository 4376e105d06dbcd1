"""A simulation on a server, and what the server keeps of it.

Start a server in another terminal:

    energy-flow serve
    python examples/through_a_server.py http://127.0.0.1:8000

This program needs no torch: the client sends the embeddings, and the server simulates.
"""

import sys

from energy_flow.client import FlowClient, ProblemError

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"

with FlowClient(URL) as client:
    # Rows of a trained model that every server has: pictures, of which flows carry the parts to
    # two planes.
    pictures = client.sample_rows("spectrometer").inputs[:8]

    # What the run would need; nothing is simulated.
    estimate = client.dry_run(pictures, model="spectrometer")
    print(f"{estimate.flows:,} initial flows, {estimate.predicted_bytes:,} bytes predicted")

    # The run, in which long steps of a flow spawn others; the model itself has no spawning.
    spawning = {"spawn.mode": "threshold", "spawn.threshold": 0.2}
    result = client.simulate(pictures, model="spectrometer", options=spawning)
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
