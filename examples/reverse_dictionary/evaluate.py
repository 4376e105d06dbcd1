"""Measures a model on the 1,000 val rows beside this file.

    python examples/reverse_dictionary/evaluate.py [MODEL.safetensors]

By default this is the model ``dictionary`` of the package. A prediction is looked up among the
targets of all rows; docs/training.md explains the figures. The last line is JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from energy_flow import checkpoint, pretrained
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import Retrieval, retrieval

HERE = Path(__file__).resolve().parent
ROWS_AT_ONCE = 100


def main() -> None:
    """Print the figures, then a line of JSON."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else pretrained.find("dictionary").checkpoint
    val = Pairs.read(HERE / "val.safetensors")
    processor = checkpoint.load(path)
    parts = [
        processor.simulate(val.inputs[first : first + ROWS_AT_ONCE], outputs=("embedding",))
        for first in range(0, len(val), ROWS_AT_ONCE)
    ]
    model = retrieval(np.concatenate([part.outputs["embedding"] for part in parts]), val.targets)
    # The baseline: the embedding of the definition itself as the prediction.
    itself = retrieval(val.inputs, val.targets)
    print(f"{'':18}{'cosine':>8}{'top 1':>8}{'top 10':>8}{'rank':>6}")
    for name, figures in (("the input itself", itself), ("flow model", model)):
        print(format_row(name, figures))
    print(json.dumps({"model": model.to_dict(), "input": itself.to_dict()}))


def format_row(name: str, of: Retrieval) -> str:
    """Return a row of the table."""
    return f"{name:18}{of.cosine:8.3f}{of.top_1:8.1%}{of.top_10:8.1%}{of.median_rank:6.0f}"


if __name__ == "__main__":
    main()
