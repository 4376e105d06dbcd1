"""What every executor does, whatever carries out its work."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.ablation import ablate
from energy_flow.choices import Ablation, EngineState
from energy_flow.engine import (
    AblationWork,
    Engine,
    Executor,
    LocalExecutor,
    ReplayRequest,
    RowReference,
    TrainingWork,
    Work,
    WorkListener,
)
from energy_flow.errors import (
    DeadlineExceeded,
    EnergyFlowError,
    EngineUnavailable,
    ModelNotLoaded,
    RunCancelled,
    RunPaused,
)
from energy_flow.simulation.checkpoint import identify
from energy_flow.simulation.checkpoint import save as save_checkpoint
from energy_flow.simulation.replay import replay
from energy_flow.testing import InMemoryExecutor
from energy_flow.training.store import MODEL, ResumableStore, TrainingFolder
from tests.support.run_listener import RecordingListener
from tests.support.servers import ENDLESS
from tests.support.small_model import (
    LIVELY,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    make_varied,
)
from tests.support.small_training import TINY, pairs, training_config
from tests.support.waits import LIMIT_SECONDS, until

LIMIT_BYTES = 2**32
SEED = 11
SAMPLES = 7


def make_local() -> Executor:
    return LocalExecutor(Engine(), LIMIT_BYTES)


def make_in_memory() -> Executor:
    return InMemoryExecutor(chunk_samples=3)


@pytest.fixture(params=[make_local, make_in_memory])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    make: Callable[[], Executor] = request.param
    made = make()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(make_varied(), path)
    return path


class Recorder(RecordingListener, WorkListener):
    """Records a run, has its rows, and lets chunks enter while it is open."""

    def __init__(self, rows: NDArray[np.float32] | None = None) -> None:
        super().__init__()
        self.worker: tuple[str, str] | None = None
        self.closed = threading.Event()
        self._rows = rows

    def assigned(self, worker: str, kind: str) -> None:
        assert not self.begun.is_set()
        self.worker = (worker, kind)

    def started(self, entering_seconds: float) -> None:
        assert self.worker is not None
        super().started(entering_seconds)

    def accepts(self) -> bool:
        return not self.closed.is_set()

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        assert self._rows is not None
        return self._rows[start:stop]


def make_work(options: Mapping[str, Any] = LIVELY, **changes: Any) -> Work:
    """Return work for the model of :func:`make_varied`, as it arrives elsewhere."""
    work = Work(
        "run",
        make_varied().digest(),
        make_varied().config.with_options(options),
        embeddings(SAMPLES),
        SEED,
        range(100, 100 + SAMPLES),
        OUTPUTS,
    )
    arrived: Work = pickle.loads(pickle.dumps(dataclasses.replace(work, **changes)))
    return arrived


def simulate_alone(options: Mapping[str, Any] = LIVELY) -> SimulationResult:
    return make_varied().simulate(
        embeddings(SAMPLES),
        options=options,
        seed=SEED,
        sample_keys=range(100, 100 + SAMPLES),
        outputs=OUTPUTS,
    )


def assert_same_samples(result: SimulationResult, whole: SimulationResult, first: int) -> None:
    for row in range(len(result.samples)):
        assert result.samples[row].sample == first + row
        assert not find_differences(bits(result, row), bits(whole, first + row))


def test_a_run_has_the_bits_of_its_model(executor: Executor, checkpoint: Path) -> None:
    loaded = executor.load_model(checkpoint)
    assert loaded.digest == make_varied().digest()
    listener = Recorder()
    executor.submit(make_work(), listener)
    result = listener.result()
    assert len(result.samples) == SAMPLES
    assert_same_samples(result, simulate_alone(), 0)
    assert [first for first, _ in listener.chunks] == sorted(first for first, _ in listener.chunks)
    (worker,) = executor.status()
    assert listener.worker == (worker.name, worker.kind)
    assert worker.models == (loaded.digest,)
    assert worker.engine.state is EngineState.RUNNING
    assert pickle.loads(pickle.dumps(worker)) == worker


def test_a_range_of_samples_has_their_bits_and_needs_no_other_rows(
    executor: Executor, checkpoint: Path
) -> None:
    executor.load_model(checkpoint)
    listener = Recorder()
    part = make_work(
        embeddings=embeddings(SAMPLES)[2:6], sample_keys=range(102, 106), first_sample=2
    )
    executor.submit(part, listener)
    result = listener.result()
    assert len(result.samples) == 4
    assert_same_samples(result, simulate_alone(), 2)


def test_the_listener_reads_the_rows_that_work_refers_to(
    executor: Executor, checkpoint: Path
) -> None:
    executor.load_model(checkpoint)
    listener = Recorder(embeddings(SAMPLES))
    rest = make_work(
        embeddings=RowReference("dataset", 3, 4), sample_keys=range(103, 107), first_sample=3
    )
    executor.submit(rest, listener)
    assert_same_samples(listener.result(), simulate_alone(), 3)


def test_rows_that_cannot_be_read_fail_the_run_alone(executor: Executor, checkpoint: Path) -> None:
    executor.load_model(checkpoint)

    class Unreadable(Recorder):
        def read(self, start: int, stop: int) -> NDArray[np.float32]:
            raise OSError("the disk is gone")

    failing, other = Unreadable(), Recorder()
    executor.submit(
        make_work(embeddings=RowReference("dataset", 0, SAMPLES), run_id="failing"), failing
    )
    executor.submit(make_work(), other)
    with pytest.raises(EnergyFlowError, match="the disk is gone"):
        failing.result()
    assert len(other.result().samples) == SAMPLES


def test_a_cancelled_run_delivers_what_it_has_unless_nobody_waits(
    executor: Executor, checkpoint: Path
) -> None:
    executor.load_model(checkpoint)
    for discard in (False, True):
        listener = Recorder()
        executor.submit(make_work(ENDLESS), listener)
        assert listener.begun.wait(LIMIT_SECONDS)
        assert executor.cancel("run", discard=discard)
        with pytest.raises(RunCancelled):
            listener.result()
        assert bool(listener.chunks) is not discard
        until(lambda: not executor.cancel("run"))


def test_a_paused_run_is_resumed_from_its_first_undelivered_sample(
    executor: Executor, checkpoint: Path
) -> None:
    executor.load_model(checkpoint)

    class ClosingRecorder(Recorder):
        def started(self, entering_seconds: float) -> None:
            super().started(entering_seconds)
            self.closed.set()

    first = ClosingRecorder()
    executor.submit(make_work(chunk_samples=2), first)
    assert first.begun.wait(LIMIT_SECONDS)
    assert executor.pause("run")
    with pytest.raises(RunPaused):
        first.result()
    done = sum(len(result.samples) for _, result in first.chunks)
    assert 0 < done < SAMPLES
    second = Recorder()
    rest = make_work(
        embeddings=embeddings(SAMPLES)[done:],
        sample_keys=range(100 + done, 100 + SAMPLES),
        first_sample=done,
    )
    executor.submit(rest, second)
    second.result()
    both = SimulationResult.concatenate([result for _, result in (*first.chunks, *second.chunks)])
    assert_same_samples(both, simulate_alone(), 0)


def test_a_run_ends_when_its_seconds_are_over(executor: Executor, checkpoint: Path) -> None:
    executor.load_model(checkpoint)
    listener = Recorder()
    executor.submit(make_work(ENDLESS, seconds_left=0.05), listener)
    with pytest.raises(DeadlineExceeded):
        listener.result()


def test_work_names_a_model_that_must_be_loaded(executor: Executor, checkpoint: Path) -> None:
    work = make_work()
    with pytest.raises(ModelNotLoaded) as refusal:
        executor.submit(work, Recorder())
    assert refusal.value.digest == work.model
    executor.load_model(checkpoint)
    assert executor.has_model(work.model, make_varied().config)
    executor.unload_model(work.model, make_varied().config)
    assert not executor.has_model(work.model, make_varied().config)
    with pytest.raises(ModelNotLoaded):
        executor.replay(make_replay())


def test_models_are_written_to_files(executor: Executor, checkpoint: Path, tmp_path: Path) -> None:
    loaded = executor.load_model(checkpoint)
    copy, drawn = tmp_path / "copy", tmp_path / "drawn"
    executor.save_model(loaded.digest, loaded.config, copy)
    assert identify(copy)["digest"] == loaded.digest
    created = executor.create_checkpoint(loaded.config, drawn)
    assert created.digest == identify(drawn)["digest"]
    assert not executor.has_model(created.digest, created.config)


def make_replay() -> ReplayRequest:
    config = make_varied().config.with_options(LIVELY)
    return ReplayRequest(make_varied().digest(), config, embeddings(SAMPLES)[4], SEED, 104, 4)


def test_a_replay_has_the_paths_of_the_sample(executor: Executor, checkpoint: Path) -> None:
    executor.load_model(checkpoint)
    request = make_replay()
    outcome = executor.replay(request).result(LIMIT_SECONDS)
    arrived = pickle.loads(pickle.dumps(outcome))
    expected = replay(make_varied(), request.embedding, request.config, SEED, 104, 4)
    for name, column in expected.path.items():
        assert np.array_equal(arrived.paths().path[name], column), name
    assert outcome.kind == executor.status()[0].kind


class AblationRecorder:
    def __init__(self) -> None:
        self.done: list[int] = []

    def progressed(self, done: int, current: Ablation | None) -> None:
        self.done.append(done)


def test_an_ablation_can_be_summed_up_elsewhere(executor: Executor, checkpoint: Path) -> None:
    executor.load_model(checkpoint)
    config = make_varied().config.with_options(LIVELY)
    listener = AblationRecorder()
    work = AblationWork(make_varied().digest(), config, pairs(12), 50)
    measured = executor.ablate(work, listener).result(LIMIT_SECONDS)
    arrived = pickle.loads(pickle.dumps(measured))
    expected = ablate(make_varied(), pairs(12), config=config, resamples=50)
    assert arrived.result().to_dict() == expected.to_dict()
    assert listener.done == sorted(listener.done)
    assert listener.done[-1] == 12 * len(measured.variants)


class TrainingRecorder:
    """Records a training, whose store is a folder, and can stop it after a step."""

    def __init__(self, folder: Path, stop: Callable[[int], None] = lambda step: None) -> None:
        self.store: ResumableStore = TrainingFolder(folder)
        self.worker: tuple[str, str] | None = None
        self.error: Exception | None = None
        self.over = threading.Event()
        self._stop = stop

    def assigned(self, worker: str, kind: str) -> None:
        self.worker = (worker, kind)

    def progressed(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        self._stop(progress["step"])

    def ended(self, error: Exception | None) -> None:
        self.error = error
        self.over.set()


def test_a_training_hands_its_snapshots_to_the_listener(executor: Executor, tmp_path: Path) -> None:
    data = tmp_path / "pairs.safetensors"
    rows = pairs()
    save_file({"inputs": rows.inputs, "targets": rows.targets}, data)
    work = TrainingWork("training", training_config(data__train=str(data)))

    def stop(step: int) -> None:
        if step == 3:
            executor.pause("training")

    paused = TrainingRecorder(tmp_path / "paused", stop)
    executor.train(work, paused)
    assert paused.over.wait(LIMIT_SECONDS)
    assert isinstance(paused.error, RunPaused)
    assert paused.store.has_snapshot()
    assert paused.worker == (executor.status()[0].name, executor.status()[0].kind)
    resumed, whole = TrainingRecorder(tmp_path / "paused"), TrainingRecorder(tmp_path / "whole")
    for listener in (resumed, whole):
        executor.train(work, listener)
        assert listener.over.wait(LIMIT_SECONDS)
        assert listener.error is None
    one, other = (identify(tmp_path / name / MODEL) for name in ("paused", "whole"))
    assert one["digest"] == other["digest"]
    assert TINY["length.steps"] in TrainingFolder(tmp_path / "whole").curves(100)["step"]


def test_a_store_that_fails_ends_the_training(executor: Executor, tmp_path: Path) -> None:
    data = tmp_path / "pairs.safetensors"
    rows = pairs()
    save_file({"inputs": rows.inputs, "targets": rows.targets}, data)

    class FullFolder(TrainingFolder):
        def save_best(self, processor: FlowProcessor) -> None:
            raise OSError(28, "No space left on device")

    listener = TrainingRecorder(tmp_path / "full")
    listener.store = FullFolder(tmp_path / "full")
    executor.train(TrainingWork("training", training_config(data__train=str(data))), listener)
    assert listener.over.wait(LIMIT_SECONDS)
    assert isinstance(listener.error, OSError)


def test_draining_ends_work_and_accepts_no_other(executor: Executor, checkpoint: Path) -> None:
    executor.load_model(checkpoint)
    running = Recorder()
    executor.submit(make_work(ENDLESS), running)
    assert running.begun.wait(LIMIT_SECONDS)
    executor.drain(0.01)
    with pytest.raises(EngineUnavailable):
        running.result()
    with pytest.raises(EngineUnavailable):
        executor.submit(make_work(), Recorder())
    assert executor.status()[0].engine.state is EngineState.STOPPED
    with pytest.raises(EngineUnavailable):
        executor.start()


def test_what_a_run_would_cost_is_estimated(executor: Executor) -> None:
    config = make_varied().config
    executor.check(config, SAMPLES)
    executor.require_room("")
    executor.check_model(config)
    assert executor.estimate(config, SAMPLES).flows == SAMPLES * config.surface_cells
