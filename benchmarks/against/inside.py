"""Runs inside one version of Energy Flow: ``python -P inside.py CHECKOUT WHAT ...``.

The script is the same for both versions. It imports only public names, and only from the given
checkout: other checkouts that are installed in the environment are removed from the path.

``where`` prints the files from which the package and the program come. ``serve`` is
``energy-flow serve`` with the same arguments. ``step`` reads JSON objects, one a line, and answers
each with another: with ``preset`` it makes a model, without ``preset`` it measures that model.
``bits`` prints digests of the results of some simulations.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
import tomllib
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PROGRAM = "energy-flow"


def main(checkout: str, what: str, *arguments: str) -> None:
    """Run one of the four commands.

    Args:
        checkout: root directory of the version.
        what: ``where``, ``step``, ``bits`` or ``serve``.
        arguments: of ``step``: an ``.npy`` file of embeddings, the device, and the number of
            threads; of ``bits``: the same, the number of random simulations, and a checkpoint; of
            ``serve``: those of the program.
    """
    root = Path(checkout).resolve()
    sys.path[:] = [str(root), *(path for path in sys.path if not _is_checkout(Path(path)))]
    if what == "where":
        print(json.dumps(where(root)))
    elif what == "step":
        step(arguments[0], arguments[1], int(arguments[2]))
    elif what == "bits":
        bits(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]), arguments[4])
    else:
        module, function = program(root)
        sys.argv = [PROGRAM, what, *arguments]
        sys.exit(getattr(import_module(module), function)())


def _is_checkout(folder: Path) -> bool:
    return (folder / "energy_flow").is_dir() and (folder / "pyproject.toml").is_file()


def program(root: Path) -> tuple[str, str]:
    """Return the module and the function of the program that the version declares.

    Args:
        root: root directory of the version.

    Raises:
        LookupError: it declares none.
    """
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    scripts: dict[str, str] = declared["project"].get("scripts", {})
    if PROGRAM not in scripts:
        raise LookupError(f"this version declares no program {PROGRAM}")
    module, _, function = scripts[PROGRAM].partition(":")
    return module, function


def where(root: Path) -> dict[str, str | None]:
    """Return the files of the package and of the program; early versions have no program.

    Args:
        root: root directory of the version.
    """
    found = {"energy_flow": _file_of("energy_flow"), "program": None}
    with suppress(LookupError):
        found["program"] = _file_of(program(root)[0])
    return found


def _file_of(module: str) -> str | None:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return None if spec is None else spec.origin


def step(embeddings: str, device: str, threads: int) -> None:
    """Make models and measure them, as the lines of the standard input request.

    Args:
        embeddings: an ``.npy`` file.
        device: where to simulate.
        threads: threads of the arithmetic.
    """
    import numpy as np
    import torch

    package = import_module("energy_flow")
    presets = _presets()
    # Only answers are written there; what libraries print goes to the standard error.
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(threads)
    rows = np.load(embeddings)
    print(json.dumps({"file": package.__file__}), file=answers, flush=True)
    measure = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if "preset" in request:
            measure = None
            config = getattr(presets, request["preset"])().replace(
                {"precision": request["precision"], "embedding_dim": rows.shape[1]}
            )
            processor = package.FlowProcessor(config, device=device)
            measure = _measurement(processor, rows[: request["batch"]], request["steps"], device)
        assert measure is not None, "the first line must have a preset"
        answer = measure(request["seconds"])
        print(json.dumps(answer), file=answers, flush=True)


def bits(embeddings: str, device: str, threads: int, count: int, checkpoint: str) -> None:
    """Print digests of simulations with a trained model and with random configs.

    A version that is older than the trained model's format refuses it, and prints null instead.

    Args:
        embeddings: an ``.npy`` file.
        device: where to simulate.
        threads: threads of the arithmetic.
        count: number of random configs.
        checkpoint: file of the trained model.
    """
    import numpy as np
    import torch

    package = import_module("energy_flow")
    presets = _presets()
    torch.set_num_threads(threads)
    rows = np.load(embeddings)
    from energy_flow import checkpoint as checkpoints
    from energy_flow.errors import CheckpointError

    digests: dict[str, str | None] = {"trained model": None}
    with suppress(CheckpointError):
        trained = checkpoints.load(checkpoint, device)
        digests["trained model"] = digest(trained, rows[:32], {})
    for seed in range(count):
        config = presets.debug().replace(random_config(seed, rows.shape[1]))
        processor = package.FlowProcessor(config, device=device)
        digests[f"random config {seed}"] = digest(processor, rows[seed : seed + 4], {})
    print(json.dumps(digests))


def digest(processor: Any, rows: Any, options: dict[str, Any]) -> str:
    """Return a SHA-256 of all outputs, trace records and counters of a simulation.

    Args:
        processor: the model.
        rows: embeddings.
        options: options of the run.
    """
    names = ("surface", "planes", "hits", "embedding")
    result = processor.simulate(rows, outputs=names, options=options, seed=11)
    hashed = hashlib.sha256()
    for name, array in (*sorted(result.outputs.items()), *sorted(result.trace.columns.items())):
        hashed.update(f"{name} {array.dtype} {array.shape}".encode())
        hashed.update(array.tobytes())
    for sample in result.samples:
        hashed.update(json.dumps(sample.to_dict(), sort_keys=True).encode())
    return hashed.hexdigest()


def random_config(seed: int, width: int) -> dict[str, Any]:
    """Return fields of a small model with random rules; every version has these fields.

    Args:
        seed: seed of the choice.
        width: number of components of an embedding.
    """
    draw = random.Random(seed)
    spawn_mode = draw.choice(("off", "threshold", "percentile"))
    return {
        "embedding_dim": width,
        "lattice_width": draw.randint(3, 12),
        "lattice_height": draw.randint(3, 12),
        "lattice_depth": draw.randint(2, 12),
        "carrier_hidden_size": draw.choice((16, 48)),
        "carrier_num_layers": draw.randint(1, 2),
        "mapper_hidden_dim": 32,
        "precision": draw.choice(("float32", "bfloat16")),
        # Walls that clamp are refused where flows spawn.
        "boundary": "reflect" if spawn_mode != "off" else draw.choice(("reflect", "clamp")),
        "noise_std": draw.choice((0.0, 0.3)),
        "noise_on_z": draw.random() < 0.7,
        "spawn.mode": spawn_mode,
        "spawn.threshold": draw.choice((0.1, 0.3)),
        "spawn.max_children": draw.randint(1, 3),
        "aggregation_mode": draw.choice(("weighted_v2", "legacy")),
        "trace.keep": draw.choice(("latest", "lossless")),
        "convergence.enabled": draw.random() < 0.5,
        "model_seed": seed,
    }


def _presets() -> Any:
    """Return the module of the presets, whose name depends on the version."""
    for name in ("energy_flow.presets", "energy_flow.config.presets"):
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    return import_module("energy_flow").presets


def _measurement(processor: Any, rows: Any, steps: int, device: str) -> Any:
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    def measure(at_least: float) -> dict[str, Any]:
        """Repeat complete simulations until at least so many seconds have passed."""
        flow_steps, seconds = 0, 0.0
        while not seconds or seconds < at_least:
            state = processor.start(rows)
            wait()
            began = time.perf_counter()
            for _ in range(steps):
                if not state.active_flows:
                    break
                flow_steps += state.active_flows
                state = processor.step(state)
            wait()
            seconds += time.perf_counter() - began
        return {"flow_steps": flow_steps, "seconds": seconds}

    return measure


if __name__ == "__main__":
    main(*sys.argv[1:])
