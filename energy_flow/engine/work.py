"""``Work``: what an executor is asked to do. It can be pickled, so a worker can be elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_flow.ablation import DEFAULT_RESAMPLES
from energy_flow.config.flow_config import FlowConfig
from energy_flow.training.data import Pairs


@dataclass(frozen=True, slots=True)
class RowReference:
    """Rows of embeddings that the listener of the work has and reads.

    Attributes:
        source: digest of the dataset, or id of the run, that the rows belong to; what it names
            does not change.
        first: its row that is the first one here.
        rows: number of rows.
    """

    source: str
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Work:
    """Consecutive samples of one run.

    Attributes:
        run_id: id that the caller chooses; unique among the work that has not ended.
        model: digest of the weights of a model that the executor has.
        config: the model's config with the options of the run.
        embeddings: float32 [samples, E], checked, or which rows the listener reads.
        seed: seed of the noise.
        sample_keys: keys of the noise, one a sample.
        outputs: names of ``choices.Output``.
        first_sample: sample of the run that is the first one here.
        seconds_left: time until the deadline, when the work is submitted; none without one.
        streams: whether the listener releases the results of each chunk, so that the results of
            the whole work need never be in memory at once.
        chunk_samples: most samples of a chunk; by default, as many as suit the device.
        client: who sends the run; runs of several clients take turns.
    """

    run_id: str
    model: str
    config: FlowConfig
    embeddings: NDArray[np.float32] | RowReference
    seed: int
    sample_keys: Sequence[int]
    outputs: tuple[str, ...] = ("surface",)
    first_sample: int = 0
    seconds_left: float | None = None
    streams: bool = False
    chunk_samples: int | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class AblationWork:
    """A model to measure with parts of it switched off.

    Attributes:
        model: digest of the weights of a model that the executor has.
        config: of the runs.
        pairs: rows to predict.
        resamples: samples of rows from which intervals are computed.
    """

    model: str
    config: FlowConfig
    pairs: Pairs
    resamples: int = DEFAULT_RESAMPLES
