"""Measures the model beside this file on the val rows beside it: evaluate.py [MODEL.safetensors]"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from energy_flow import checkpoint
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import Retrieval, retrieval

HERE = Path(__file__).resolve().parent
ROWS_AT_ONCE = 100


def main() -> None:
    """Prints the figures, then a line of JSON."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "model.safetensors"
    val = Pairs.read(HERE / "val.safetensors")
    processor = checkpoint.load(path)
    parts = [
        processor.simulate(val.inputs[first : first + ROWS_AT_ONCE], outputs=("embedding",))
        for first in range(0, len(val), ROWS_AT_ONCE)
    ]
    model = retrieval(np.concatenate([part.outputs["embedding"] for part in parts]), val.targets)
    itself = retrieval(val.inputs, val.targets)
    print(f"{'':18}{'cosine':>8}{'top 1':>8}{'top 10':>8}{'rank':>6}")
    for name, told in (("the input itself", itself), ("flow model", model)):
        print(line(name, told))
    print(json.dumps({"model": model.to_dict(), "input": itself.to_dict()}))


def line(name: str, told: Retrieval) -> str:
    """A row of the table."""
    return f"{name:18}{told.cosine:8.3f}{told.top_1:8.1%}{told.top_10:8.1%}{told.median_rank:6.0f}"


if __name__ == "__main__":
    main()
