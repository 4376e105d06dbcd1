"""Fills a pool to its last flow and tells its peak memory; a process of ``memory``.

python -m benchmarks.full_pool PRESET PRECISION BATCH DEVICE
"""

from __future__ import annotations

import json

from benchmarks.child_process import begin
from benchmarks.resident import forget_peak, peak_bytes, resident_bytes
from benchmarks.workload import config, embeddings
from energy_flow import FlowConfig, FlowProcessor
from energy_flow.simulation.footprint import footprint

STEPS = 6


def full_config(preset: str, precision: str) -> FlowConfig:
    """A config whose flows neither leave nor arrive before the last step, and spawn at once.

    They move in x and y alone, by noise, so that no plane is ever reached.
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
    """Simulates a sample of a tiny model, for the code that libraries load when it is first used.

    It stays for as long as the process lives and does not grow with what is simulated.
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
    """Prints one line of JSON."""
    asked = begin(__doc__, preset=str, precision=str, batch=int, device=str)
    chosen = full_config(asked.preset, asked.precision)
    inputs = embeddings(asked.batch)
    load_libraries(chosen, asked.device)
    forget_peak()
    before = resident_bytes()
    model = FlowProcessor(chosen, device=asked.device)
    with_model = peak_bytes() - before
    model.empty()
    with_plan = peak_bytes() - before
    result = model.simulate(inputs)
    peak = result.memory.peak_bytes
    if peak is None:
        peak = peak_bytes() - before
    predicted = footprint(chosen, asked.batch)
    limit = asked.batch * chosen.active_limit
    active = result.profile.active_flows
    told = {
        "preset": asked.preset,
        "precision": asked.precision,
        "batch": asked.batch,
        "flows": max(active),
        "steps": len(active),
        "full_steps": sum(count == limit for count in active),
        "records": len(result.trace),
        "before_bytes": before,
        "peak_bytes": peak,
        "predicted_bytes": predicted.total,
        # On the way there, of the process: the model made, then packed and its shapes tried.
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
    print(json.dumps(told))


if __name__ == "__main__":
    main()
