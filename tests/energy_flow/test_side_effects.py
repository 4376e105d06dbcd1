"""Global state is not changed by simulations, and importing has no effect."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor, checkpoint
from tests.support.repository import ROOT
from tests.support.small_model import (
    LIVELY,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    make_untrained,
    small_config,
)


def global_state() -> dict[str, Any]:
    """Everything global that a library could disturb."""
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "torch generator": torch.get_rng_state().numpy().tobytes(),
        "numpy generator": str(np.random.get_state()),  # noqa: NPY002 - that one is the point
        "random": random.getstate(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "deterministic warnings": torch.is_deterministic_algorithms_warn_only_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "flush denormal": float(torch.tensor(1e-40) * 1.0),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "mkldnn": torch.backends.mkldnn.enabled,
        "numpy errors": np.geterr(),
        "print options": str(torch.tensor(1 / 3)),
        "handlers": list(logging.getLogger().handlers),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
    }


def use_everything(folder: Path) -> None:
    """Builds, simulates with and without gradients, saves and loads."""
    processor = FlowProcessor(small_config(**LIVELY))
    for precision in ("float32", "bfloat16"):
        result = processor.simulate(
            embeddings(2), options={"precision": precision}, outputs=OUTPUTS
        )
        result.summary()
        result.trace.to_pandas()
    tensor = processor.train().simulate(embeddings(2)).outputs["surface"]
    tensor.sum().backward()
    checkpoint.save(processor, folder / "model.safetensors")
    checkpoint.load(folder / "model.safetensors")
    with pytest.raises(ValueError, match="seed"):
        processor.simulate(embeddings(1), seed=-1)


def test_globals_are_not_changed(tmp_path: Path) -> None:
    before = global_state()
    use_everything(tmp_path)
    after = global_state()
    # pytest's own note of the running test may change, nothing else.
    for state in (before, after):
        state["environment"].pop("PYTEST_CURRENT_TEST", None)
    assert [name for name in before if before[name] != after[name]] == []


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    "setting",
    ["float64 by default", "no_grad", "inference_mode", "deterministic algorithms", "seed"],
)
def test_global_settings_do_not_change_results(setting: str) -> None:
    contexts: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "float64 by default": lambda: default_dtype(torch.float64),
        "no_grad": torch.no_grad,
        "inference_mode": torch.inference_mode,
        "deterministic algorithms": deterministic_algorithms,
        "seed": lambda: torch.random.fork_rng(devices=[]),
    }
    expected = make_untrained().simulate(embeddings(2), options=LIVELY, outputs=OUTPUTS)
    with contexts[setting]():
        if setting == "seed":
            torch.manual_seed(1234)
        processor = FlowProcessor(small_config())
        result = processor.simulate(embeddings(2), options=LIVELY, outputs=OUTPUTS)
        assert processor.digest() == make_untrained().digest()
        weights = processor.state_dict().values()
        assert {weight.dtype for weight in weights} == {torch.float32}
    for row in range(2):
        assert find_differences(bits(result, row), bits(expected, row)) == []


IMPORTS_DO_NOTHING = """
import logging, os, random, sys, threading
import numpy, torch
generator = torch.get_rng_state().clone()
drawn, numbers = random.getstate(), str(numpy.random.get_state())
environment, files = dict(os.environ), sorted(os.listdir("."))
threads, counted = threading.active_count(), torch.get_num_threads()
reads = []
sys.addaudithook(lambda event, args: reads.append((event, args)) if event == "open" else None)
import energy_flow, energy_flow.config.presets, energy_flow.simulation.checkpoint
import energy_flow.engine, energy_flow.simulation.replay, energy_flow.trace.formats.parquet
import energy_flow.training
assert torch.equal(torch.get_rng_state(), generator)
assert random.getstate() == drawn
assert str(numpy.random.get_state()) == numbers
assert torch.get_default_dtype() == torch.float32
assert torch.is_grad_enabled()
assert torch.get_num_threads() == counted
assert not torch.are_deterministic_algorithms_enabled()
assert not torch.cuda.is_initialized()
assert dict(os.environ) == environment
assert sorted(os.listdir(".")) == files == []
assert threading.active_count() == threads
named = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
for logger in [logging.getLogger(), *(one for one in named if one.name.startswith("energy_flow"))]:
    assert not logger.handlers, logger
    assert logger.level in (logging.NOTSET, logging.WARNING), logger
opened = [args for event, args in reads if isinstance(args[1], str)]
written = [args[0] for args in opened if set(args[1]) & set("wax+")]
assert not [path for path in written if "__pycache__" not in str(path)], written
for module in ("fastapi", "httpx", "sqlalchemy", "typer", "matplotlib"):
    assert module not in sys.modules, module
"""


@pytest.mark.slow
def test_importing_does_nothing(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS_DO_NOTHING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ended.stderr == ""
