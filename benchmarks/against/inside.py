"""Runs inside one version of Energy Flow: ``python -P inside.py CHECKOUT where|step|serve ...``.

The script stands alone and is the same for both versions. It imports only public names, and it
makes sure that they come from the given checkout: another checkout that is installed in the same
environment is taken off the path.

``where`` prints the files from which the package and the program come. ``serve`` is
``energy-flow serve`` with the same arguments. ``step`` reads one JSON object a line and answers
each with another: with ``preset`` it builds a model, without it measures that model.
"""

from __future__ import annotations

import json
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
    """Do one of the three things.

    Args:
        checkout: root directory of the version.
        what: ``where``, ``step`` or ``serve``.
        arguments: of ``step``: an ``.npy`` file of embeddings, the device, and the number of
            threads; of ``serve``: the program's own.
    """
    root = Path(checkout).resolve()
    sys.path[:] = [str(root), *(path for path in sys.path if not _is_checkout(Path(path)))]
    if what == "where":
        print(json.dumps(where(root)))
    elif what == "step":
        step(arguments[0], arguments[1], int(arguments[2]))
    else:
        module, function = program(root)
        sys.argv = [PROGRAM, what, *arguments]
        sys.exit(getattr(import_module(module), function)())


def _is_checkout(folder: Path) -> bool:
    return (folder / "energy_flow").is_dir() and (folder / "pyproject.toml").is_file()


def program(root: Path) -> tuple[str, str]:
    """Return the module and the function of the program, as the version itself declares them."""
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    scripts: dict[str, str] = declared["project"].get("scripts", {})
    if PROGRAM not in scripts:
        raise LookupError(f"this version declares no program {PROGRAM}")
    module, _, function = scripts[PROGRAM].partition(":")
    return module, function


def where(root: Path) -> dict[str, str | None]:
    """Return the files of the package and of the program; early versions have no program."""
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
    """Build models and measure them, as each line of the standard input demands."""
    import numpy as np
    import torch

    package = import_module("energy_flow")
    presets = _presets()
    # Only answers go there, whatever a library prints.
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(threads)
    rows = np.load(embeddings)
    print(json.dumps({"file": package.__file__}), file=answers, flush=True)
    measure = None
    for line in sys.stdin:
        demand: dict[str, Any] = json.loads(line)
        if "preset" in demand:
            measure = None
            config = getattr(presets, demand["preset"])().replace(
                {"precision": demand["precision"], "embedding_dim": rows.shape[1]}
            )
            processor = package.FlowProcessor(config, device=device)
            measure = _measurement(processor, rows[: demand["batch"]], demand["steps"], device)
        assert measure is not None, "the first line must name a preset"
        answer = measure(demand["seconds"])
        print(json.dumps(answer), file=answers, flush=True)


def _presets() -> Any:
    """Return the module of the presets, which the package may export, or keep in one of these."""
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
        """Simulate until so many seconds have passed, always to the end of a simulation."""
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
