"""``AblationMeasurements``: what an ablation has measured, and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from energy_flow.ablation.bootstrap import compare_figures
from energy_flow.ablation.result import AblationEntry, AblationFlows, AblationResult
from energy_flow.choices import Ablation, SpawnMode
from energy_flow.config.flow_config import FlowConfig
from energy_flow.telemetry.counters import Counters
from energy_flow.training.retrieval import RowFigures


@dataclass(frozen=True, slots=True)
class AblationMeasurements:
    """All rows of all variants, measured. It can be pickled, and needs neither model nor device.

    Attributes:
        config: of the runs of the model as it is.
        variants: the part that is switched off in each variant; none for the model as it is.
        figures: figures of the rows, a variant each.
        counters: counters of all runs of a variant.
        targets: float32 [rows, E].
        resamples: samples of rows from which intervals are computed.
        seed: of the resampling.
    """

    config: FlowConfig
    variants: tuple[Ablation | None, ...]
    figures: tuple[RowFigures, ...]
    counters: tuple[Counters, ...]
    targets: NDArray[Any]
    resamples: int
    seed: int

    def result(self, should_stop: Callable[[], bool] = lambda: False) -> AblationResult:
        """Return the figures of all variants; takes long for many rows.

        Args:
            should_stop: whether to give up; it is called often, on the thread of the call.

        Raises:
            RunCancelled: ``should_stop`` returned true.
        """
        compared = compare_figures(
            list(self.figures), self.targets, self.resamples, self.seed, should_stop
        )
        measured = {
            ablation: AblationEntry(ablation, None, values, changes, _describe_flows(counters))
            for ablation, counters, (values, changes) in zip(
                self.variants, self.counters, compared, strict=True
            )
        }
        entries = [measured[None]]
        for ablation in Ablation:
            reason = find_missing_part(self.config, ablation)
            entries.append(
                measured[ablation]
                if reason is None
                else AblationEntry(ablation, reason, {}, {}, None)
            )
        return AblationResult(len(self.targets), self.resamples, tuple(entries))


def find_missing_part(config: FlowConfig, ablation: Ablation) -> str | None:
    """Return why a model has nothing to switch off, if so.

    Args:
        config: of the runs of the model as it is.
        ablation: the part.
    """
    match ablation:
        case Ablation.SPAWNING if config.spawn.mode is SpawnMode.OFF:
            return "the model has no spawning"
        case Ablation.NOISE if config.noise_std == 0:
            return "the model has no noise"
        case _:
            return None


def _describe_flows(counters: Counters) -> AblationFlows:
    """Return what the flows of some runs did."""
    completed = max(counters.completed, 1)
    return AblationFlows(
        counters.mean_path_steps,
        counters.mean_path_length,
        counters.spawned / counters.initial,
        {name: count / completed for name, count in counters.planes.items()},
    )
