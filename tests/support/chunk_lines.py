"""Lines of chunks as the server writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from energy_flow import FlowProcessor, presets
from energy_flow.testing import TINY_FIELDS
from service.json_encoding import to_json
from service.store.run_summary import describe_chunk


def make_line(first_sample: int, samples: int, *, records: int | None = None) -> dict[str, Any]:
    """Return the line of a chunk of a tiny run.

    Args:
        first_sample: Row of its first sample.
        samples: Number of its samples.
        records: Number of its trace records that the line states; by default, what they are.
    """
    config = presets.debug().replace(TINY_FIELDS)
    result = FlowProcessor(config).simulate(
        np.full((samples, config.embedding_dim), 0.1, dtype=np.float32)
    )
    line: dict[str, Any] = orjson.loads(to_json(describe_chunk(first_sample, result)))
    for number, sample in enumerate(line["samples"]):
        sample["sample"] = first_sample + number
    if records is not None:
        line["trace"]["recorded"] = {"spawn": 0, "reflect": 0, "terminate": records}
    return line
