"""The baseline of speeds: a bare ``torch.nn.GRU``, and its matrix products alone.

Both are measured under the best conditions. Rows are in blocks of the fastest height, the inputs
and states of a block are in memory that stays in the cache, and results are discarded.

Shape legend: R rows of a block, I input width, H hidden width, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.comparison import time_once
from energy_flow.choices import Precision
from energy_flow.config.flow_config import FlowConfig

HEIGHTS = {
    "cpu": (128, 256, 512, 1024, 2048, 4096, 8192),
    "cuda": (4096, 8192, 16384, 32768, 65536, 131072, 262144),
}
SEARCH_ROUNDS = 3
SEARCH_BLOCKS = 2
"""Number of rows with which heights are tried, in blocks of the largest height."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A computation for the rows of some steps, at the fastest block height.

    Attributes:
        rows: number of rows of each step.
        height: number of rows of a block.
        run: computes all steps.
    """

    rows: tuple[int, ...]
    height: int
    run: Callable[[], None]


class BareGRU:
    """A GRU of the shape that a model's carrier has.

    Args:
        config: config of the model.
        device: where to compute.

    Attributes:
        device: as given.
    """

    def __init__(self, config: FlowConfig, device: str) -> None:
        self.device = device
        self._bfloat16 = config.precision is Precision.BFLOAT16
        self._dtype = torch.bfloat16 if self._bfloat16 else torch.float32
        self._gru = nn.GRU(
            config.neuron_output_dim + 1, config.carrier_hidden_size, config.carrier_num_layers
        )
        self._gru.to(device, self._dtype).eval()

    def steps(self, rows: Sequence[int]) -> Baseline:
        """Return the calls of the GRU for some steps.

        Args:
            rows: number of rows of each step.
        """
        return self._best(rows, self._gru_calls)

    def products(self, rows: Sequence[int]) -> Baseline:
        """Return the matrix products of those calls.

        Args:
            rows: number of rows of each step.
        """
        return self._best(rows, self._matrix_products)

    def _best(
        self, rows: Sequence[int], build: Callable[[Sequence[int], int], Callable[[], None]]
    ) -> Baseline:
        """Try block heights in turns with a part of the rows, and use the fastest."""
        heights = [one for one in HEIGHTS[torch.device(self.device).type] if one <= max(rows)]
        heights = heights or [max(rows)]
        few = [min(max(rows), SEARCH_BLOCKS * heights[-1])]
        trials = {height: build(few, height) for height in heights}
        least = dict.fromkeys(trials, float("inf"))
        for trial in trials.values():
            trial()
        for _ in range(SEARCH_ROUNDS):
            for height, trial in trials.items():
                least[height] = min(least[height], time_once(trial, self.device))
        height = min(least, key=least.__getitem__)
        return Baseline(tuple(rows), height, build(rows, height))

    def _gru_calls(self, rows: Sequence[int], height: int) -> Callable[[], None]:
        gru = self._gru
        x_1RI = self._random(1, height, gru.input_size)
        state_LRH = self._random(gru.num_layers, height, gru.hidden_size)
        blocks = split_into_blocks(rows, height)

        def run() -> None:
            with torch.inference_mode():
                for block in blocks:
                    gru(x_1RI[:, :block], state_LRH[:, :block])

        return run

    def _matrix_products(self, rows: Sequence[int], height: int) -> Callable[[], None]:
        gru, blocks = self._gru, split_into_blocks(rows, height)
        x_RI = self._random(height, gru.input_size)
        state_RH = self._random(height, gru.hidden_size)
        gates = self._random(height, 3 * gru.hidden_size)
        weights = [
            (
                state_RH if layer else x_RI,
                getattr(gru, f"weight_ih_l{layer}").t(),
                getattr(gru, f"weight_hh_l{layer}").t(),
            )
            for layer in range(gru.num_layers)
        ]

        def run() -> None:
            with torch.inference_mode():
                for block in blocks:
                    state, out = state_RH[:block], gates[:block]
                    for x, from_input, from_state in weights:
                        torch.mm(x[:block], from_input, out=out)
                        torch.mm(state, from_state, out=out)

        return run

    def _random(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator).tanh().to(self.device, self._dtype)


def split_into_blocks(rows: Sequence[int], height: int) -> list[int]:
    """Return the heights of blocks that cover the rows of each step, without padding.

    Args:
        rows: number of rows of each step.
        height: largest number of rows of a block.
    """
    blocks: list[int] = []
    for count in rows:
        blocks += [height] * (count // height)
        if count % height:
            blocks.append(count % height)
    return blocks
