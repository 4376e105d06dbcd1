"""Simulates in this process, without a server; needs torch (`energy-flow[server]`)."""

from pathlib import Path

from safetensors.numpy import load_file

from energy_flow.config.presets import debug
from energy_flow.simulation.flow_processor import FlowProcessor

DATA = Path(__file__).parent / "data"

embeddings = load_file(DATA / "wordnet_256.safetensors")["inputs"][:4].astype("float32")

config = debug().replace({"embedding_dim": embeddings.shape[1], "spawn.threshold": 0.4})
processor = FlowProcessor(config, device="cpu")
result = processor.simulate(embeddings, seed=7, outputs=["surface", "hits"])

print(result.summary())
print("surfaces", result.outputs["surface"].shape)
print("records", len(result.trace), result.trace.totals)

# A row gives the same result in any batch, bit for bit, as long as it keeps its key.
alone = processor.simulate(embeddings[2:3], seed=7, sample_keys=[2])
assert (alone.outputs["surface"][0] == result.outputs["surface"][2]).all()
print("sample 2 alone gives the same surface")
