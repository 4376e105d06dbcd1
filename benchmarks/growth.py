"""How time grows with lattice side, hidden size, batch and depth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison import timed
from benchmarks.options import Findings, Options
from benchmarks.tables import say, show
from benchmarks.workload import embeddings, processor
from energy_flow import FlowConfig, FlowProcessor, SimulationResult

ROUNDS = 3
BATCH = 8


@dataclass(frozen=True, slots=True)
class Axis:
    """What is made larger, and the measure of work that time should be linear in."""

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
    """One size of an axis; its fastest turn, as others on the machine only ever slow one down."""

    size: int
    work: float
    seconds: float
    flow_steps: int
    rows_per_flow_step: float


def measure(options: Options) -> Findings:
    """Measures every axis; its sizes take turns."""
    figures: dict[str, Any] = {}
    for axis in AXES:
        say(f"growth: {axis.name}")
        points = _points(axis, options)
        time_exponent = exponent([one.work for one in points], [one.seconds for one in points])
        step_exponent = exponent(
            [one.flow_steps for one in points], [one.seconds for one in points]
        )
        show(
            f"Time against {axis.name}: grows as {axis.work} to the power {time_exponent:.2f}",
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
            f"work: {axis.work}. rows: what the GRU computed a flow-step; beyond 1 is padding.",
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

            taken = timed(run, options.device)
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
    """Of the GRU's matrix products for one row."""
    hidden, inputs = config.carrier_hidden_size, config.neuron_output_dim + 1
    return 3 * hidden * (inputs + hidden + (config.carrier_num_layers - 1) * 2 * hidden)


def computed_rows(model: FlowProcessor, result: SimulationResult) -> int:
    """Rows of all blocks of a run; flows with a stored state and new ones have their own."""
    plan = model.empty().plan
    rows, born = 0, result.profile.active_flows[0]
    for active, step in zip(result.profile.active_flows, result.steps, strict=True):
        rows += sum(height for _, height in plan.cover(active - born))
        rows += sum(height for _, height in plan.cover(born))
        born = step.spawned
    return rows


def exponent(work: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of ``work`` that ``seconds`` grow with, by least squares of the logarithms."""
    return statistics.linear_regression(
        [math.log(one) for one in work], [math.log(one) for one in seconds]
    ).slope
