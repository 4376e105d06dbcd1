"""Flow-steps a second of ``simulate`` against a bare GRU that steps the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.bare_gru import BareGRU
from benchmarks.comparison import in_turns
from benchmarks.options import Findings, Options
from benchmarks.tables import say, show
from benchmarks.workload import embeddings, processor, shape


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: a preset in a precision, with a batch, and how many rounds it gets."""

    preset: str
    precision: str
    batch: int
    rounds: int

    @property
    def name(self) -> str:
        """The shape and the precision."""
        return f"{self.preset} {self.precision}"


CASES = (
    Case("debug", "float32", 64, 30),
    Case("debug", "bfloat16", 64, 30),
    Case("experiment", "float32", 8, 6),
    Case("experiment", "bfloat16", 8, 6),
)


def measure(options: Options) -> Findings:
    """Compares every case: simulation, bare GRU and matrix products in turns."""
    measured = {}
    for case in CASES:
        say(f"step: {case.name}, {options.rounds(case.rounds)} rounds")
        measured[case.name] = _measured(case, options)
    show(
        "Flow-steps a second: simulate, a bare GRU, its matrix products alone",
        ("shape", "batch", "flow-steps", "simulate", "GRU", "products", "of GRU", "of products"),
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
        "Rates by median time; ratios are medians over rounds with a 95 % interval. The GRU and "
        "the products get exactly the rows of each step, at their best block height, in memory "
        "that stays in the cache.",
    )
    return Findings({name: one.pop("config") for name, one in measured.items()}, measured)


def _measured(case: Case, options: Options) -> dict[str, Any]:
    model = processor(case.preset, options.device, {"precision": case.precision})
    inputs = embeddings(case.batch)
    result = model.simulate(inputs)
    rows = result.profile.active_flows
    gru = BareGRU(model.config, options.device)
    stepping, multiplying = gru.steps(rows), gru.products(rows)
    times = in_turns(
        {
            "simulate": lambda: model.simulate(inputs),
            "gru": stepping.run,
            "products": multiplying.run,
        },
        options.rounds(case.rounds),
        options.device,
    )
    flow_steps = sum(rows)
    return {
        "config": shape(model.config)
        | {"gru_height": stepping.height, "products_height": multiplying.height},
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
