"""``AblationRun``: a model measured as it is, and with parts of it switched off.

Shape legend: B rows, E width of a target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from energy_flow.ablation.measurements import AblationMeasurements, find_missing_part
from energy_flow.ablation.result import (
    DEFAULT_RESAMPLES,
    MIN_ROWS,
    AblationResult,
)
from energy_flow.choices import Ablation, SpawnMode
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.messages import describe_width
from energy_flow.errors import ConfigError, DataError, Fault, NonFiniteError
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.pool import FlowState
from energy_flow.telemetry.counters import Counters
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import RowFigures, TargetRows
from energy_flow.training.unroll import UNTRACED

DEFAULT_ROWS_AT_ONCE: Final = 64

Progress = Callable[["AblationRun"], None]
"""Is called with a run after each of its steps."""


@dataclass(slots=True)
class _Variant:
    """The model as it is, or with one part switched off.

    Attributes:
        ablation: the part; none for the model as it is.
        config: of its runs.
        figures: of the rows so far, part by part.
        counters: of the runs so far.
    """

    ablation: Ablation | None
    config: FlowConfig
    figures: list[RowFigures] = field(default_factory=list)
    counters: list[Counters] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that have been simulated."""
        return sum(len(part.rank) for part in self.figures)


class AblationRun:
    """An ablation in progress. It advances one step a call, so that other work can run in between.

    All variants see the same rows, seed and sample keys.

    Args:
        processor: the model.
        pairs: rows to predict.
        config: of the runs; the model's own if none.
        rows_at_once: rows that are simulated at once, at least 1.
        resamples: samples of rows, drawn with replacement, from which intervals are computed; at
            least 1.
        seed: of the resampling.

    Raises:
        ConfigError: ``rows_at_once`` or ``resamples`` is below 1.
        DataError: the rows do not suit the model, or there are fewer than two.

    Attributes:
        total: rows to simulate, of all variants together.
        done: those that have been simulated.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        pairs: Pairs,
        *,
        config: FlowConfig | None = None,
        rows_at_once: int = DEFAULT_ROWS_AT_ONCE,
        resamples: int = DEFAULT_RESAMPLES,
        seed: int = 0,
    ) -> None:
        _check_counts({"rows_at_once": rows_at_once, "resamples": resamples})
        check_pairs(pairs, processor.config)
        self._processor = processor.eval()
        self._pairs = pairs
        self._rows_at_once = rows_at_once
        self._resamples = resamples
        self._seed = seed
        self._base = (config or processor.config).with_options(UNTRACED)
        self._variants = [_Variant(None, self._base)] + [
            _Variant(ablation, _ablate_config(self._base, ablation))
            for ablation in find_parts(self._base)
        ]
        self._targets = TargetRows(pairs.targets)
        self._measured: list[RowFigures] = []
        self._part: Pairs | None = None
        self._state: FlowState | None = None
        self.total = len(self._variants) * len(pairs)
        self.done = 0

    @property
    def current(self) -> Ablation | None:
        """The part that is switched off now; none for the model as it is, and after the end."""
        if self._is_measured:
            return None
        return self._variants[len(self._measured)].ablation

    @property
    def _is_measured(self) -> bool:
        return len(self._measured) == len(self._variants)

    def advance(self) -> bool:
        """Move the active flows once, and return whether more is left.

        Raises:
            NonFiniteError: the networks gave a flow a number that is not finite; its ``sample`` is
                an element of ``pairs.rows``.
        """
        if self._is_measured:
            return False
        variant = self._variants[len(self._measured)]
        if self._state is None:
            self._state = self._start_part(variant)
        self._state = self._processor.step(self._state)
        (cohort,) = self._state.cohorts
        if cohort.failure is not None:
            raise self._name_row(cohort.failure)
        if not self._state.active_flows:
            self._finish_part(variant)
        return not self._is_measured

    def measurements(self) -> AblationMeasurements:
        """Return what was measured; to be called once nothing is left."""
        return AblationMeasurements(
            self._base,
            tuple(variant.ablation for variant in self._variants),
            tuple(self._measured),
            tuple(Counters.total(variant.counters) for variant in self._variants),
            self._pairs.targets,
            self._resamples,
            self._seed,
        )

    def result(self, should_stop: Callable[[], bool] = lambda: False) -> AblationResult:
        """Return the figures of all variants; to be called once nothing is left.

        Takes long for many rows; the device is not used.

        Args:
            should_stop: whether to give up; it is called often, on the thread of the call.

        Raises:
            RunCancelled: ``should_stop`` returned true.
        """
        return self.measurements().result(should_stop)

    def _start_part(self, variant: _Variant) -> FlowState:
        first = variant.rows
        last = min(first + self._rows_at_once, len(self._pairs))
        self._part = self._pairs.take(np.arange(first, last))
        state = replace(self._processor.empty(variant.config), ablation=variant.ablation)
        return self._processor.add_cohort(
            state, self._part.inputs, variant.config, variant.config.seed, self._part.rows.tolist()
        )

    def _name_row(self, failure: NonFiniteError) -> NonFiniteError:
        """Return a failure that names the row of the file, not that of the part."""
        assert self._part is not None
        return NonFiniteError(int(self._part.rows[failure.sample]), failure.flow, failure.step)

    def _finish_part(self, variant: _Variant) -> None:
        assert self._state is not None
        assert self._part is not None
        (cohort,) = self._state.cohorts
        result = self._processor.finish(self._state, cohort, ("embedding",))
        self._state = None
        self.done += len(self._part)
        # Ranks are found part by part: those of all rows at once would be one long step.
        predicted = result.outputs["embedding"]
        variant.figures.append(self._targets.measure(predicted, variant.rows))
        variant.counters.append(result.metrics.counters)
        if variant.rows == len(self._pairs):
            self._measured.append(RowFigures.concatenate(variant.figures))


def ablate(
    processor: FlowProcessor,
    pairs: Pairs,
    *,
    config: FlowConfig | None = None,
    rows_at_once: int = DEFAULT_ROWS_AT_ONCE,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    on_step: Progress | None = None,
) -> AblationResult:
    """Measure a model as it is, and with parts of it switched off.

    Args:
        processor: the model.
        pairs: rows to predict; held-out ones show what the model has learned.
        config: of the runs; the model's own if none.
        rows_at_once: rows that are simulated at once, at least 1.
        resamples: samples of rows, drawn with replacement, from which intervals are computed; at
            least 1.
        seed: of the resampling.
        on_step: is called after every step.

    Raises:
        ConfigError: ``rows_at_once`` or ``resamples`` is below 1.
        DataError: the rows do not suit the model, or there are fewer than two.
        NonFiniteError: the networks gave a flow a number that is not finite; its ``sample`` is an
            element of ``pairs.rows``.
    """
    run = AblationRun(
        processor,
        pairs,
        config=config,
        rows_at_once=rows_at_once,
        resamples=resamples,
        seed=seed,
    )
    is_unfinished = True
    while is_unfinished:
        is_unfinished = run.advance()
        if on_step is not None:
            on_step(run)
    return run.result()


def check_pairs(pairs: Pairs, config: FlowConfig) -> None:
    """Refuse rows that do not suit a model.

    Args:
        pairs: rows to predict.
        config: of the model.

    Raises:
        DataError: their widths are not the model's, or there are fewer than two.
    """
    faults = [
        Fault((name,), f"must have {describe_width(width)}, as the model has", array.shape[1])
        for name, array, width in (
            ("inputs", pairs.inputs, config.embedding_dim),
            ("targets", pairs.targets, config.output_width),
        )
        if array.shape[1] != width
    ]
    if len(pairs) < MIN_ROWS:
        faults.append(Fault(("rows",), f"must be at least {MIN_ROWS}", len(pairs)))
    if faults:
        raise DataError(*faults)


def find_parts(config: FlowConfig) -> tuple[Ablation, ...]:
    """Return the parts that can be switched off, because the model has them.

    Args:
        config: of the runs.
    """
    return tuple(ablation for ablation in Ablation if find_missing_part(config, ablation) is None)


def _check_counts(counts: Mapping[str, int]) -> None:
    """Refuse arguments, by name, that are below 1."""
    faults = [
        Fault((name,), "must be at least 1", count) for name, count in counts.items() if count < 1
    ]
    if faults:
        raise ConfigError(*faults)


def _ablate_config(config: FlowConfig, ablation: Ablation) -> FlowConfig:
    options = dict(ablation.options)
    try:
        return config.with_options(options)
    except ConfigError:
        # A threshold that no displacement reaches without noise is refused.
        return config.with_options({**options, "spawn.mode": SpawnMode.OFF})
