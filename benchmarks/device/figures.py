"""Parts of ``device`` that measure: block heights, rates, steps, and the cost of the trace."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.comparison import time_in_turns, time_once
from benchmarks.device.cases import BATCHES, QUICK_BATCHES, Shape, model, shapes
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings
from energy_flow import FlowConfig, FlowProcessor
from energy_flow.choices import Precision
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.pool import FlowState

ROUNDS = 5
FIRST_STEPS = 2
"""Steps before the measured ones; in the first, flows have no state."""
STEPS = 5
PRODUCT_ROWS = 8192
QUICK_PRODUCT_ROWS = 512
COPY_NUMBERS = 2**28
QUICK_COPY_NUMBERS = 2**20
DTYPES = {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16}


def measure_heights(options: Options) -> Findings:
    """Measure the trial of block heights, and the padding of the heights that agree.

    Args:
        options: how to measure.
    """
    figures: dict[str, Any] = {}
    for shape in shapes(options):
        processor = model(shape, options.device)
        seconds = time_once(processor.prepare, options.device)
        plan = processor.empty().plan
        flows = [batch * processor.config.surface_cells for batch in _batches(options)]
        figures[shape.name] = {
            "seconds": round(seconds, 2),
            "invariant": plan.invariant,
            "heights": plan.heights,
            "padding": {rows: round(plan.computed(rows) / rows, 4) for rows in flows},
        }
    show(
        "Block heights that agree bitwise",
        ("", "heights", "lowest", "highest", "agree", "rows computed for each, first step"),
        [
            (
                name,
                len(one["heights"]),
                one["heights"][0],
                one["heights"][-1],
                one["invariant"],
                ", ".join(map(str, one["padding"].values())),
            )
            for name, one in figures.items()
        ],
        "Heights of a model that an earlier part has used were tried before: seconds is then 0.",
    )
    return Findings({"batches": _batches(options)}, figures)


def measure_rates(options: Options) -> Findings:
    """Measure large matrix products, and copies.

    Args:
        options: how to measure.
    """
    figures = {
        f"{precision.value}_flops": product_rate(options.device, precision, options.quick)
        for precision in Precision
    }
    count = QUICK_COPY_NUMBERS if options.quick else COPY_NUMBERS
    source = torch.ones(count, device=options.device)
    target = torch.empty_like(source)
    seconds = _median(lambda: target.copy_(source), options.device)
    figures["copied_bytes"] = 2 * source.nbytes / seconds
    show("Rates, a second", ("", "rate"), figures.items())
    return Findings({}, figures)


@cache
def product_rate(device: str, precision: Precision, is_quick: bool) -> float:
    """Return the floating-point operations a second of a large matrix product.

    Args:
        device: where it is computed.
        precision: of its numbers.
        is_quick: whether a small one does.
    """
    rows = QUICK_PRODUCT_ROWS if is_quick else PRODUCT_ROWS
    one, other = (torch.randn((rows, rows), device=device).to(DTYPES[precision]) for _ in "ab")
    return float(2 * rows**3 / _median(lambda: torch.mm(one, other), device))


def measure_steps(options: Options) -> Findings:
    """Measure steps of every preset in several batches.

    Args:
        options: how to measure.
    """
    figures: dict[str, Any] = {}
    for shape in shapes(options):
        for batch in _batches(options):
            name = f"{shape.name}, batch {batch}"
            if time.perf_counter() > options.until:
                figures[name] = {"error": "left out, because the time is over"}
                continue
            print_line(f"steps: {name}")
            try:
                figures[name] = _measure_step(shape, batch, options)
            except (RuntimeError, MemoryError) as error:
                figures[name] = {"error": f"{type(error).__name__}: {error}"}
            if torch.device(options.device).type == "cuda":
                torch.cuda.empty_cache()
    show(
        "Steps",
        (
            *("", "flows", "ms a step", "of the rate", "rows / flows", "launches", "busy"),
            *("peak, MiB", "peak / predicted"),
        ),
        [
            (
                name,
                *(
                    one.get(column, one.get("error"))
                    for column in ("flows", "ms", "of_rate", "padding", "launches", "busy")
                ),
                one["peak_bytes"] / 2**20 if one.get("peak_bytes") else None,
                one.get("peak_over_predicted"),
            )
            for name, one in figures.items()
        ],
        "of the rate: operations of the GRU's products of all flows, as a share of the rate of "
        "large products of the same precision. launches, busy: of one step, on a CUDA device.",
    )
    return Findings({"steps": STEPS, "rounds": ROUNDS}, figures)


def measure_trace(options: Options) -> Findings:
    """Measure a simulation with a trace against without.

    Args:
        options: how to measure.
    """
    figures: dict[str, Any] = {}
    for shape in list(shapes(options))[:2]:
        processor, inputs = model(shape, options.device), embeddings(2 if options.quick else 32)

        def run(capacity: int, of: FlowProcessor = processor, inputs: Any = inputs) -> Any:
            return of.simulate(inputs, options={"trace.capacity": capacity})

        capacity = processor.config.trace.capacity
        contenders = {"on": partial(run, capacity), "off": partial(run, 0)}
        times = time_in_turns(contenders, 2 if options.quick else ROUNDS, options.device)
        figures[shape.name] = {
            "on_seconds": times.median("on"),
            "off_seconds": times.median("off"),
            "on_over_off": times.ratio("on", "off").to_dict(),
        }
    show(
        "Time of simulate with a trace (on) against without (off)",
        ("", "on, s", "off, s", "on / off"),
        [
            (name, one["on_seconds"], one["off_seconds"], one["on_over_off"]["median"])
            for name, one in figures.items()
        ],
    )
    return Findings({}, figures)


def _measure_step(shape: Shape, batch: int, options: Options) -> dict[str, Any]:
    processor, device = model(shape, options.device), options.device
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    state = processor.start(embeddings(batch), seed=1)
    seconds, flows, computed = [], 0, 0
    for number in range(FIRST_STEPS + STEPS):
        if not state.active_flows:
            break
        after: list[FlowState] = []
        taken = time_once(partial(_step, processor, state, after), device)
        if number >= FIRST_STEPS:
            seconds.append(taken)
            flows += state.active_flows
            computed += _computed_rows(state)
        (state,) = after
    median = statistics.median(seconds)
    mean_flows = flows / len(seconds)
    rate = product_rate(device, Precision(shape.precision), options.quick)
    operations = mean_flows * operations_of_a_flow(processor.config)
    found: dict[str, Any] = {
        "flows": round(mean_flows),
        "ms": round(1e3 * median, 3),
        "of_rate": round(operations / median / rate, 4),
        "padding": round(computed / flows, 4),
        "launches": None,
        "busy": None,
    }
    if on_gpu:
        found["reserved_bytes"] = torch.cuda.memory_reserved(device)
        # The samples and the model; the prediction is for as many flows as there may be.
        found["peak_bytes"] = torch.cuda.max_memory_allocated(device)
        predicted = footprint(processor.config, batch, device=torch.device(device)).total
        found["peak_over_predicted"] = round(found["peak_bytes"] / predicted, 4)
        if state.active_flows:
            found |= _profile_step(processor, state, device)
    return found


def _step(processor: FlowProcessor, state: FlowState, after: list[FlowState]) -> None:
    after.append(processor.step(state))


def _computed_rows(state: FlowState) -> int:
    blocks = state.networks.blocks(state.active_flows, state.hidden.stepped, state.plan)
    return sum(block.height for block in blocks)


def _profile_step(processor: FlowProcessor, state: FlowState, device: str) -> dict[str, Any]:
    """Return the kernels of one step, and the share of its time in which they run."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        seconds = time_once(lambda: processor.step(state), device)
    kernels = [event for event in profiled.events() or () if event.device_type.name == "CUDA"]
    busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e6
    return {"launches": len(kernels), "busy": round(busy / seconds, 4)}


def operations_of_a_flow(config: FlowConfig) -> int:
    """Return the floating-point operations of the GRU's products for a flow with a state.

    Args:
        config: of the model.
    """
    size = config.carrier_hidden_size
    widths = [config.neuron_hidden_dim + 1, *[size] * (config.carrier_num_layers - 1)]
    return sum(2 * 3 * size * (width + size) for width in widths)


def _batches(options: Options) -> tuple[int, ...]:
    return QUICK_BATCHES if options.quick else BATCHES


def _median(work: Callable[[], object], device: str) -> float:
    time_once(work, device)
    return statistics.median(time_once(work, device) for _ in range(ROUNDS))
