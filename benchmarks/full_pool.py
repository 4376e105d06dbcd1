"""Fills a pool completely, and measures its peak memory; a process of ``memory``.

python -m benchmarks.full_pool PRESET PRECISION BATCH DEVICE
"""

from __future__ import annotations

import json

from benchmarks.child_process import begin_child
from benchmarks.resident import peak_bytes, reset_peak, resident_bytes
from benchmarks.workload import config, embeddings
from energy_flow import FlowConfig, FlowProcessor
from energy_flow.simulation.footprint import footprint

STEPS = 6


def full_config(preset: str, precision: str) -> FlowConfig:
    """Return a config whose flows spawn in the first step and end in the last.

    Flows move by noise and only in x and y, so that they never reach a plane.

    Args:
        preset: name of the preset.
        precision: precision of the networks.
    """
    return config(
        preset,
        {
            "precision": precision,
            "displacement_scale": 1e-6,
            "noise_std": 0.25,
            "noise_on_z": False,
            "max_steps": STEPS,
            "projection_age": STEPS,
            "convergence.enabled": False,
            "spawn.threshold": 0.01,
            "spawn.max_children": 3,
        },
    )


def load_libraries(like: FlowConfig, device: str) -> None:
    """Simulate a sample with a tiny model, so that libraries load the code that they load lazily.

    That memory does not depend on what is simulated later.

    Args:
        like: config of the model, except for its sizes.
        device: where to simulate.
    """
    tiny = {
        "lattice_width": 2,
        "lattice_height": 2,
        "max_active_flows": None,
        "mapper_hidden_dim": 16,
        "carrier_hidden_size": 16,
        "carrier_num_layers": 1,
    }
    FlowProcessor(like.replace(tiny), device=device).simulate(embeddings(1))


def main() -> None:
    """Print one line of JSON."""
    parsed = begin_child(__doc__, preset=str, precision=str, batch=int, device=str)
    chosen = full_config(parsed.preset, parsed.precision)
    inputs = embeddings(parsed.batch)
    load_libraries(chosen, parsed.device)
    reset_peak()
    before = resident_bytes()
    model = FlowProcessor(chosen, device=parsed.device)
    with_model = peak_bytes() - before
    model.empty()
    with_plan = peak_bytes() - before
    result = model.simulate(inputs)
    peak = result.memory.peak_bytes
    if peak is None:
        peak = peak_bytes() - before
    predicted = footprint(chosen, parsed.batch)
    limit = parsed.batch * chosen.active_limit
    active = result.profile.active_flows
    figures = {
        "preset": parsed.preset,
        "precision": parsed.precision,
        "batch": parsed.batch,
        "flows": max(active),
        "steps": len(active),
        "full_steps": sum(count == limit for count in active),
        "records": len(result.trace),
        "before_bytes": before,
        "peak_bytes": peak,
        "predicted_bytes": predicted.total,
        # Of the process before: after the model is made, and after its block heights are tried.
        "peak_with_model_bytes": with_model,
        "peak_with_plan_bytes": with_plan,
        "predicted_weights_bytes": predicted.weights,
        "predicted_workspace_bytes": predicted.workspace,
        "predicted_state_bytes": predicted.state,
        "predicted_trace_bytes": predicted.trace,
        "state_bytes": result.memory.state_bytes,
        "trace_bytes": result.memory.trace_bytes,
        "predicted_over_peak": round(predicted.total / peak, 4),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
