"""Models and runs share one limit of memory: idle models make room, and the rest is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow import FlowConfig, FlowProcessor, checkpoint
from energy_flow.engine import Engine, LoadedModel, RunRequest
from energy_flow.engine.loaded_models import model_key
from energy_flow.engine.model_memory import ModelMemory
from energy_flow.errors import CapacityError, ConfigError, MemoryInUse
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.model_footprint import create_bytes, load_bytes, loaded_bytes
from energy_flow.trace.ring import RECORD_BYTES
from tests.support.repository import ROOT
from tests.support.run_listener import RecordingListener
from tests.support.servers import ENDLESS
from tests.support.small_model import small_config
from tests.support.waits import LIMIT_SECONDS, until

WIDTH = 4096


def wide_config(seed: int, **fields: Any) -> FlowConfig:
    """Return the config of a model whose weights take far more memory than a run of it."""
    return small_config(embedding_dim=WIDTH, mapper_hidden_dim=256, model_seed=seed, **fields)


HELD = loaded_bytes(wide_config(0))
ROOM = max(load_bytes(wide_config(0)) - HELD, footprint(wide_config(0), 1).total - HELD) + 2**20
"""What a load or a run needs besides the models, with inputs and results."""


@contextmanager
def running(limit_bytes: int) -> Iterator[Engine]:
    engine = Engine(memory_limit_bytes=limit_bytes)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def load(engine: Engine, seed: int, **fields: Any) -> LoadedModel:
    return engine.load_model(wide_config(seed, **fields), is_permanent=False)


def is_loaded(engine: Engine, model: LoadedModel) -> bool:
    return engine.has_model(model_key(model.digest, model.config))


def rows(count: int = 1) -> NDArray[np.float32]:
    return np.full((count, WIDTH), 0.1, np.float32)


def submit(
    engine: Engine, model: LoadedModel, options: dict[str, Any] | None = None, name: str = "run"
) -> RecordingListener:
    listener = RecordingListener()
    config = model.config.with_options(options or {})
    request = RunRequest(
        name, model.digest, config, rows(), 0, range(1), ("surface",), streams=True
    )
    engine.submit(request, listener)
    return listener


def test_the_model_that_was_not_used_for_the_longest_time_is_unloaded() -> None:
    with running(2 * HELD + ROOM) as engine:
        first, second = load(engine, 1), load(engine, 2)
        assert engine.models_bytes == 2 * HELD
        submit(engine, second).result()
        submit(engine, first).result()
        third = load(engine, 3)
        assert [is_loaded(engine, one) for one in (first, second, third)] == [True, False, True]
        assert engine.models_bytes == 2 * HELD
        again = load(engine, 2)
        assert again.digest == second.digest
        assert [is_loaded(engine, one) for one in (first, again, third)] == [False, True, True]


def test_models_of_runs_and_permanent_models_stay() -> None:
    with running(2 * HELD + ROOM) as engine:
        permanent = engine.load_model(wide_config(1))
        busy = load(engine, 2)
        endless = submit(engine, busy, ENDLESS)
        assert endless.begun.wait(LIMIT_SECONDS)
        with pytest.raises(MemoryInUse) as refusal:
            load(engine, 3)
        assert refusal.value.needed_bytes == load_bytes(wide_config(3))
        assert refusal.value.available_bytes < refusal.value.needed_bytes
        # The weights of an unloaded model are in memory for as long as the run lasts.
        engine.unload_model(busy.digest, busy.config)
        with pytest.raises(MemoryInUse):
            load(engine, 3)
        assert engine.models_bytes == 2 * HELD
        engine.cancel("run")
        assert endless.over.wait(LIMIT_SECONDS)
        until(lambda: engine.models_bytes == HELD)
        third = load(engine, 3)
        assert is_loaded(engine, permanent)
        assert is_loaded(engine, third)


def test_a_model_that_can_never_be_loaded_is_refused_before_it_takes_memory(
    tmp_path: Path,
) -> None:
    with running(load_bytes(wide_config(0)) - 1) as engine:
        for refused in (
            lambda: load(engine, 1),
            lambda: engine.check_model(wide_config(1)),
            lambda: engine.create_checkpoint(wide_config(1), tmp_path / "model"),
        ):
            with pytest.raises((CapacityError, ConfigError)) as refusal:
                refused()
            assert "bytes" in str(refusal.value)
        assert engine.models_bytes == 0
        assert list(tmp_path.iterdir()) == []


def test_a_permanent_model_stays_permanent_if_it_is_loaded_again() -> None:
    with running(2 * HELD + ROOM) as engine:
        permanent = engine.load_model(wide_config(1))
        load(engine, 1)
        load(engine, 2)
        load(engine, 3)
        assert is_loaded(engine, permanent)


def test_a_permanent_model_is_counted_for_every_other_one() -> None:
    with running(HELD + load_bytes(wide_config(0)) - 1) as engine:
        engine.load_model(wide_config(1))
        with pytest.raises(CapacityError) as refusal:
            load(engine, 2)
        assert refusal.value.available_bytes == load_bytes(wide_config(0)) - 1


def test_a_run_makes_idle_models_leave_and_is_refused_beside_busy_ones() -> None:
    needy = {"trace.capacity": 3 * HELD // RECORD_BYTES}
    needs = footprint(wide_config(1).with_options(needy), 1).total - HELD
    with running(HELD + needs) as engine:
        first, second = load(engine, 1), load(engine, 2)
        submit(engine, second).result()
        submit(engine, first, needy).result()
        assert [is_loaded(engine, one) for one in (first, second)] == [True, False]
        second = load(engine, 2)
        endless = submit(engine, second, ENDLESS, "endless")
        with pytest.raises(MemoryInUse):
            submit(engine, first, needy)
        # It does not wait for ever: nothing was queued.
        assert engine.status().queued_runs + engine.status().active_runs <= 1
        engine.cancel("endless")
        assert endless.over.wait(LIMIT_SECONDS)


def test_a_model_is_not_loaded_into_the_memory_of_a_run_that_waits() -> None:
    needy = {**ENDLESS, "trace.capacity": 3 * HELD // RECORD_BYTES}
    needs = footprint(wide_config(1).with_options(needy), 1).total - HELD
    with running(HELD + needs + HELD // 2) as engine:
        first = load(engine, 1)
        listener = submit(engine, first, needy)
        with pytest.raises(MemoryInUse):
            load(engine, 2)
        engine.cancel("run")
        assert listener.over.wait(LIMIT_SECONDS)
        load(engine, 2)


def test_a_checkpoint_is_created_without_a_loaded_model(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with running(HELD + ROOM) as engine:
        written = engine.create_checkpoint(wide_config(7), path)
        assert engine.models_bytes == 0
        assert not is_loaded(engine, written)
    expected = FlowProcessor(wide_config(7))
    assert written.digest == expected.digest() == checkpoint.identify(path)["digest"]
    assert checkpoint.load(path).digest() == expected.digest()


def test_a_predicted_cost_is_within_the_limit() -> None:
    limit = 2 * HELD + ROOM
    with running(limit) as engine:
        kept = engine.load_model(wide_config(1))
        other = load(engine, 2)
        for model, available in ((kept, limit), (other, limit - HELD)):
            for samples in (1, 100, 10**6):
                estimate = engine.estimate(model.config, samples, model.digest)
                assert estimate.predicted_bytes <= available
        assert engine.estimate(kept.config, 100, kept.digest).predicted_bytes > HELD


MEASURE = """
import json, sys, threading, time
from pathlib import Path
from energy_flow.runtime.process import configure_process
configure_process()
from energy_flow import FlowConfig
from energy_flow.engine import Engine
from energy_flow.runtime.malloc import trim_heap
from energy_flow.testing import TINY_FIELDS

def own_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

def largest_growth(work):
    trim_heap()
    before, seen, over = own_bytes(), [0], threading.Event()
    def watch():
        while not over.wait(0.0005):
            seen[0] = max(seen[0], own_bytes() - before)
    thread = threading.Thread(target=watch)
    thread.start()
    work()
    over.set()
    thread.join()
    return seen[0]

fields, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
config = FlowConfig.from_dict(fields)
engine = Engine()
engine.start()
# What libraries keep after their first use is no memory of a model.
tiny = FlowConfig.from_dict({**TINY_FIELDS, "precision": config.precision.value})
engine.create_checkpoint(tiny, folder / "tiny.safetensors")
engine.load_model(folder / "tiny.safetensors")
path = folder / "model.safetensors"
created = largest_growth(lambda: engine.create_checkpoint(config, path))
loaded = largest_growth(lambda: engine.load_model(path))
engine.stop()
print(json.dumps([created, loaded]))
"""

SLACK = 12 * 2**20
"""What threads and libraries take besides: stacks, and buffers of products of a new shape.

Those depend on the CPU; 8.8 MB were seen on one with AMX.
"""

LARGE: dict[str, dict[str, Any]] = {
    "wide embeddings": {"embedding_dim": 20_001, "mapper_hidden_dim": 256},
    "wide embeddings in bfloat16": {
        "embedding_dim": 20_000,
        "mapper_hidden_dim": 256,
        "precision": "bfloat16",
    },
    "a wide mapper": {"embedding_dim": 64, "mapper_hidden_dim": 40_000},
    "a wide carrier": {"carrier_hidden_size": 1500, "carrier_num_layers": 1},
    "a wide carrier in bfloat16": {
        "carrier_hidden_size": 1200,
        "carrier_num_layers": 1,
        "precision": "bfloat16",
    },
    "a wide neuron": {"neuron_hidden_dim": 1500},
    "linear mappers": {"mapper": "linear", "embedding_dim": 50_000},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_what_a_model_takes_is_within_the_prediction(tmp_path: Path, kind: str) -> None:
    config = small_config(**LARGE[kind])
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(config.to_dict()), str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    created, loaded = json.loads(ended.stdout.splitlines()[-1])
    assert created <= create_bytes(config) + SLACK
    assert loaded <= load_bytes(config) + SLACK


def test_requests_share_the_limit() -> None:
    with running(2 * HELD + ROOM) as engine:
        memory = engine.memory
        permanent = engine.load_model(wide_config(1))
        idle = load(engine, 2)
        submit(engine, idle).result()
        # Idle models make room, once the last run of theirs has left.
        until(lambda: memory.hold_requests(HELD) == 0)
        assert is_loaded(engine, permanent)
        assert not is_loaded(engine, idle)
        assert engine.models_bytes == HELD
        # More than is left is refused, and changes nothing.
        assert memory.hold_requests(2 * HELD + ROOM) > 0
        assert memory.request_bytes == HELD
        with pytest.raises(MemoryInUse):
            load(engine, 3)
        # A run needs less, and runs beside them.
        submit(engine, permanent, name="beside").result()
        assert memory.hold_requests(0) == 0
        assert is_loaded(engine, load(engine, 3))


def test_requests_beside_an_accelerator_have_a_limit_of_their_own() -> None:
    memory = ModelMemory.without_models(1000)
    assert memory.hold_requests(600) == 0
    assert memory.hold_requests(1001) == 1
    assert memory.available_bytes() == 1000
    assert memory.hold_requests(1000) == 0


def test_requests_leave_room_for_a_sample_of_each_run() -> None:
    with running(HELD + ROOM) as engine:
        model = engine.load_model(wide_config(1))
        sample = footprint(wide_config(1), 1)
        endless = submit(engine, model, ENDLESS)
        assert endless.begun.wait(LIMIT_SECONDS)
        free = ROOM - sample.samples - sample.workspace
        assert engine.memory.hold_requests(ROOM) > 0
        assert engine.memory.hold_requests(free // 2) == 0
        engine.cancel("run")
        assert endless.over.wait(LIMIT_SECONDS)
