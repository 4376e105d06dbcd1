"""The baseline of every speed: a bare ``torch.nn.GRU``, and nothing but its matrix products.

Both are given every advantage. Rows come in blocks of the height that suits them best; a block's
inputs and states lie ready in memory that stays in the cache, and its results are thrown away.

Shape legend: R rows of a block, I input width, H hidden width, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.comparison import timed
from energy_flow.config.flow_config import FlowConfig, Precision

HEIGHTS = {
    "cpu": (128, 256, 512, 1024, 2048, 4096, 8192),
    "cuda": (4096, 8192, 16384, 32768, 65536, 131072, 262144),
}
SEARCH_ROUNDS = 3
SEARCH_BLOCKS = 2
"""Rows that heights are tried on, in blocks of the largest."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Something that steps rows, at its best block height.

    Attributes:
        rows: of each step. height: of a block. run: steps all of them.
    """

    rows: tuple[int, ...]
    height: int
    run: Callable[[], None]


class BareGRU:
    """A GRU as a carrier has it, without what makes it a carrier."""

    def __init__(self, config: FlowConfig, device: str) -> None:
        self.device = device
        self._bfloat16 = config.precision is Precision.BFLOAT16
        self._dtype = torch.bfloat16 if self._bfloat16 else torch.float32
        self._gru = nn.GRU(
            config.neuron_output_dim + 1, config.carrier_hidden_size, config.carrier_num_layers
        )
        self._gru.to(device, self._dtype).eval()

    def steps(self, rows: Sequence[int]) -> Baseline:
        """Calls of the GRU for so many rows in each step."""
        return self._best(rows, self._stepping)

    def products(self, rows: Sequence[int]) -> Baseline:
        """The matrix products of those calls and nothing else."""
        return self._best(rows, self._multiplying)

    def _best(
        self, rows: Sequence[int], working: Callable[[Sequence[int], int], Callable[[], None]]
    ) -> Baseline:
        """Tries block heights on a part of the rows, in turns, and keeps the fastest."""
        heights = [one for one in HEIGHTS[torch.device(self.device).type] if one <= max(rows)]
        heights = heights or [max(rows)]
        few = [min(max(rows), SEARCH_BLOCKS * heights[-1])]
        trials = {height: working(few, height) for height in heights}
        least = dict.fromkeys(trials, float("inf"))
        for trial in trials.values():
            trial()
        for _ in range(SEARCH_ROUNDS):
            for height, trial in trials.items():
                least[height] = min(least[height], timed(trial, self.device))
        height = min(least, key=least.__getitem__)
        return Baseline(tuple(rows), height, working(rows, height))

    def _stepping(self, rows: Sequence[int], height: int) -> Callable[[], None]:
        gru = self._gru
        x_1RI = self._random(1, height, gru.input_size)
        state_LRH = self._random(gru.num_layers, height, gru.hidden_size)
        blocks = cut(rows, height)

        def run() -> None:
            with torch.inference_mode():
                for block in blocks:
                    gru(x_1RI[:, :block], state_LRH[:, :block])

        return run

    def _multiplying(self, rows: Sequence[int], height: int) -> Callable[[], None]:
        gru, blocks = self._gru, cut(rows, height)
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


def cut(rows: Sequence[int], height: int) -> list[int]:
    """Block heights that cover each step's rows, without padding."""
    blocks: list[int] = []
    for count in rows:
        blocks += [height] * (count // height)
        if count % height:
            blocks.append(count % height)
    return blocks
