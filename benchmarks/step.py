"""``step``: the speed of a simulation.

Measures: ``FlowProcessor.simulate`` with real embeddings. Unit: flow-steps a second. Baseline: a
bare ``torch.nn.GRU`` for the rows of the same steps, and its matrix products alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.bare_gru import BareGRU
from benchmarks.comparison import time_in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor, shape


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        preset: name of the preset.
        precision: precision of the networks.
        batch: number of samples.
        rounds: usual number of rounds.
    """

    preset: str
    precision: str
    batch: int
    rounds: int

    @property
    def name(self) -> str:
        """Preset and precision."""
        return f"{self.preset} {self.precision}"


CASES = (
    Case("debug", "float32", 64, 30),
    Case("debug", "bfloat16", 64, 30),
    Case("experiment", "float32", 8, 6),
    Case("experiment", "bfloat16", 8, 6),
)


def measure(options: Options) -> Findings:
    """Measure every case: simulation, bare GRU and matrix products in turns.

    Args:
        options: how to measure.
    """
    measured = {}
    for case in CASES:
        print_line(f"step: {case.name}, {options.rounds(case.rounds)} rounds")
        measured[case.name] = _measured(case, options)
    show(
        "Flow-steps a second: simulate, a bare GRU, its matrix products alone",
        ("preset", "batch", "flow-steps", "simulate", "GRU", "products", "/ GRU", "/ products"),
        [
            (
                name,
                one["batch"],
                one["flow_steps"],
                one["per_second"]["simulate"],
                one["per_second"]["gru"],
                one["per_second"]["products"],
                _interval(one["of_gru"]),
                _interval(one["of_products"]),
            )
            for name, one in measured.items()
        ],
        "Flow-steps a second by median time. / GRU, / products: speed of simulate as a share of "
        "theirs, the median over rounds with a 95 % interval. They compute the rows of the same "
        "steps, at their fastest block height, in memory that stays in the cache.",
    )
    return Findings({name: one.pop("config") for name, one in measured.items()}, measured)


def _measured(case: Case, options: Options) -> dict[str, Any]:
    model = processor(case.preset, options.device, {"precision": case.precision})
    inputs = embeddings(case.batch)
    result = model.simulate(inputs)
    rows = result.profile.active_flows
    gru = BareGRU(model.config, options.device)
    calls, products = gru.steps(rows), gru.products(rows)
    times = time_in_turns(
        {
            "simulate": lambda: model.simulate(inputs),
            "gru": calls.run,
            "products": products.run,
        },
        options.rounds(case.rounds),
        options.device,
    )
    flow_steps = sum(rows)
    return {
        "config": shape(model.config)
        | {"gru_height": calls.height, "products_height": products.height},
        "batch": case.batch,
        "steps": len(rows),
        "flow_steps": flow_steps,
        "first_step_share": round(rows[0] / flow_steps, 4),
        "per_second": {name: round(flow_steps / times.median(name)) for name in times.seconds},
        "of_gru": times.ratio("gru", "simulate").to_dict(),
        "of_products": times.ratio("products", "simulate").to_dict(),
    }


def _interval(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
