"""``growth``: the time of a simulation by the size of its parts.

Measures: ``FlowProcessor.simulate`` for several lattice sides, hidden sizes, batches and depths.
Unit: seconds, and the exponent with which they grow with the work. Baseline: linear growth, an
exponent of 1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison import time_once
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings, processor
from energy_flow import FlowConfig, FlowProcessor, SimulationResult

ROUNDS = 3
BATCH = 8


@dataclass(frozen=True, slots=True)
class Axis:
    """A size that varies.

    Attributes:
        name: name in the results.
        fields: fields of the config that have this size; none stands for the batch.
        sizes: sizes to measure.
        long_sizes: more sizes for long measurements.
        work: unit of the work in which time should be linear.
    """

    name: str
    fields: tuple[str, ...]
    sizes: tuple[int, ...]
    long_sizes: tuple[int, ...]
    work: str


AXES = (
    Axis(
        "lattice side", ("lattice_width", "lattice_height"), (10, 14, 20, 28, 40), (56, 80), "cells"
    ),
    Axis("hidden size", ("carrier_hidden_size",), (64, 128, 256, 512), (1024,), "multiplications"),
    Axis("batch", (), (2, 4, 8, 16, 32), (64, 128, 256), "samples"),
    Axis("depth", ("lattice_depth",), (5, 10, 20, 40), (80, 160), "flow-steps"),
)


@dataclass(frozen=True, slots=True)
class Point:
    """The figures of one size.

    Attributes:
        size: the size.
        work: amount of work.
        seconds: shortest time of all rounds, because other work on the machine only adds time.
        flow_steps: number of flow-steps.
        rows_per_flow_step: rows that the GRU computes in a flow-step; above 1 with padding.
    """

    size: int
    work: float
    seconds: float
    flow_steps: int
    rows_per_flow_step: float


def measure(options: Options) -> Findings:
    """Measure every axis, its sizes in turns.

    Args:
        options: how to measure.
    """
    figures: dict[str, Any] = {}
    for axis in AXES:
        print_line(f"growth: {axis.name}")
        points = _points(axis, options)
        time_exponent = exponent([one.work for one in points], [one.seconds for one in points])
        step_exponent = exponent(
            [one.flow_steps for one in points], [one.seconds for one in points]
        )
        show(
            f"Time by {axis.name}: grows with {axis.work} to the power {time_exponent:.2f}",
            (axis.name, "work", "flow-steps", "seconds", "ns a unit", "µs a flow-step", "rows"),
            [
                (
                    str(one.size),
                    float(one.work),
                    one.flow_steps,
                    one.seconds,
                    1e9 * one.seconds / one.work,
                    1e6 * one.seconds / one.flow_steps,
                    one.rows_per_flow_step,
                )
                for one in points
            ],
            f"work: {axis.work}. rows: rows of the GRU in a flow-step; above 1 there is padding.",
        )
        figures[axis.name] = {
            "work": axis.work,
            "exponent": round(time_exponent, 4),
            "exponent_of_flow_steps": None
            if axis.name == "hidden size"
            else round(step_exponent, 4),
            "points": [
                {
                    "size": one.size,
                    "work": one.work,
                    "seconds": round(one.seconds, 5),
                    "flow_steps": one.flow_steps,
                    "rows_per_flow_step": round(one.rows_per_flow_step, 4),
                }
                for one in points
            ],
        }
    return Findings({"preset": "debug", "batch": BATCH, "rounds": options.rounds(ROUNDS)}, figures)


def _points(axis: Axis, options: Options) -> list[Point]:
    sizes = axis.sizes + (axis.long_sizes if options.long else ())
    models = {
        size: processor("debug", options.device, dict.fromkeys(axis.fields, size))
        for size in (sizes if axis.fields else sizes[:1])
    }
    batches = {size: embeddings(BATCH if axis.fields else size) for size in sizes}
    results: dict[int, SimulationResult] = {}
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(1 + options.rounds(ROUNDS)):
        for size in sizes:
            model = models.get(size, models[sizes[0]])

            def run(model: FlowProcessor = model, size: int = size) -> None:
                results[size] = model.simulate(batches[size])

            taken = time_once(run, options.device)
            if turn:
                seconds[size].append(taken)
    points = []
    for size in sizes:
        model, result = models.get(size, models[sizes[0]]), results[size]
        flow_steps = result.metrics.counters.flow_steps
        work = {
            "cells": model.config.surface_cells,
            "samples": size,
            "flow-steps": flow_steps,
            "multiplications": flow_steps * gru_multiplications(model.config),
        }[axis.work]
        rows = computed_rows(model, result) / flow_steps
        points.append(Point(size, work, min(seconds[size]), flow_steps, rows))
    return points


def gru_multiplications(config: FlowConfig) -> int:
    """Return the number of multiplications in the GRU's matrix products for one row.

    Args:
        config: config of the model.
    """
    hidden, inputs = config.carrier_hidden_size, config.neuron_output_dim + 1
    return 3 * hidden * (inputs + hidden + (config.carrier_num_layers - 1) * 2 * hidden)


def computed_rows(model: FlowProcessor, result: SimulationResult) -> int:
    """Return the number of rows in all blocks of a run.

    Flows with a stored state and new flows are in separate blocks.

    Args:
        model: the model.
        result: result of the run.
    """
    plan = model.empty().plan
    rows, born = 0, result.profile.active_flows[0]
    for active, step in zip(result.profile.active_flows, result.steps, strict=True):
        rows += sum(height for _, height in plan.cover(active - born))
        rows += sum(height for _, height in plan.cover(born))
        born = step.spawned
    return rows


def exponent(work: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the power of the work with which the time grows, by least squares of the logarithms.

    Args:
        work: amounts of work.
        seconds: their times.
    """
    return statistics.linear_regression(
        [math.log(one) for one in work], [math.log(one) for one in seconds]
    ).slope
