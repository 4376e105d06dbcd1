"""What the rows of a run's arrays are, which follows from its config."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from energy_flow.choices import Output, RunKind
from energy_flow.config.flow_config import FlowConfig
from energy_flow.simulation.tally.outputs import output_shape
from service.problems import damaged_index
from service.store.npy_file import RowLayout
from service.store.tables import RunRow

SAMPLE_KEY = RowLayout((), np.dtype(np.int64))
"""Layout of the keys that a request has given to its samples."""


def find_output_layouts(row: RunRow) -> Mapping[str, RowLayout]:
    """Return what one sample has in each output of a run, by the name of the output.

    Args:
        row: Row of the run.

    Raises:
        Problem: 503, the index is damaged.
    """
    if row.kind == RunKind.TRAINING:
        return {}
    try:
        config = FlowConfig.from_dict(row.config)
        return {
            name: RowLayout(output_shape(name, config), np.dtype(Output(name).dtype))
            for name in row.request["outputs"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise damaged_index(f"the config or the outputs of run {row.run_id}: {error}") from error


def find_input_layout(row: RunRow) -> RowLayout:
    """Return what an embedding of a run is.

    Args:
        row: Row of the run.
    """
    return RowLayout((row.config["embedding_dim"],), np.dtype(np.float32))
