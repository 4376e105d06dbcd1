"""A simulation in this process, without a server.

    python examples/in_process.py

Needs torch (`pip install "energy-flow[server]"`). The model is untrained, so its surfaces have no
meaning yet.
"""

from pathlib import Path

from safetensors.numpy import load_file

from energy_flow import FlowProcessor
from energy_flow.config.presets import debug

DATA = Path(__file__).parent / "data"

# Four sentence embeddings of 384 components each.
embeddings = load_file(DATA / "wordnet_256.safetensors")["inputs"][:4].astype("float32")

# A model: the settings of the preset "debug", with two of them changed.
config = debug().replace({"embedding_dim": embeddings.shape[1], "spawn.threshold": 0.4})
processor = FlowProcessor(config, device="cpu")

# A run: each embedding becomes a surface of energies, by flows that move through the lattice.
result = processor.simulate(embeddings, seed=7, outputs=["surface", "hits"])
print(result.summary())
print("shape of the surfaces", result.outputs["surface"].shape)
print("trace records", len(result.trace), result.trace.totals)

# A sample has the same result in any batch, bit for bit, if seed and sample key are the same.
# By default the key is the row in the batch.
alone = processor.simulate(embeddings[2:3], seed=7, sample_keys=[2])
assert (alone.outputs["surface"][0] == result.outputs["surface"][2]).all()
print("sample 2 alone gives the same surface")
