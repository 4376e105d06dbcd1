"""Many runs through one engine, most of them disturbed; a process of ``soak``.

    python -m benchmarks.engine_soak RUNS DEVICE

Runs are sent in waves. After each wave the engine must be empty, and the memory as before.
"""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.child_process import begin_child
from benchmarks.resident import resident_bytes
from benchmarks.soak_runs import (
    AT_ONCE,
    EMPTY_WITHIN_SECONDS,
    LOST_AFTER_SECONDS,
    OUTPUTS,
    Fate,
    Planned,
    figures,
    has_expected_outputs,
    has_expected_records,
    has_first_records,
    plan_runs,
    small_processor,
    waves,
)
from energy_flow import FlowProcessor, SimulationResult
from energy_flow.engine import Engine, RunListener, RunRequest
from energy_flow.errors import DeadlineExceeded, EnergyFlowError, RunCancelled
from energy_flow.telemetry.ledger import StepMetrics

ALLOWED_ERRORS: dict[Fate, tuple[type[EnergyFlowError], ...]] = {
    Fate.UNDISTURBED: (),
    Fate.CANCELLED: (RunCancelled,),
    Fate.DISCONNECTED: (RunCancelled,),
    Fate.LATE: (DeadlineExceeded,),
}


@dataclass
class Caller(RunListener):
    """A listener of one run that keeps its results; some disconnect before the end.

    Attributes:
        plan: the run.
        room: released when the run ends, so that another one is sent.
        done: set when the run ends.
        chunks: first samples and results.
        endings: number of notifications of the end.
        notified_after_end: whether there were other notifications afterwards.
        error: why the run ended, or none.
        began: when the run was sent.
    """

    plan: Planned
    room: threading.Semaphore
    done: threading.Event = field(default_factory=threading.Event)
    chunks: list[tuple[int, SimulationResult]] = field(default_factory=list)
    endings: int = 0
    notified_after_end: bool = False
    error: EnergyFlowError | None = None
    began: float = field(default_factory=time.monotonic)

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """Fail after the time of a caller that disconnects, as its connection would."""
        self.notified_after_end |= self.endings > 0
        is_late = time.monotonic() - self.began > self.plan.moment
        if self.plan.fate is Fate.DISCONNECTED and is_late:
            raise ConnectionResetError("the caller has disconnected")

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Keep results."""
        self.notified_after_end |= self.endings > 0
        self.chunks.append((first_sample, result))

    def ended(self, error: EnergyFlowError | None) -> None:
        """Note the end, and make room for another run."""
        self.endings += 1
        self.error = error
        self.room.release()
        self.done.set()

    def outcome(self) -> str:
        """Return ``finished``, ``ended_early``, ``lost`` or ``wrong``."""
        kind = self.plan.kind
        if self.endings != 1 or self.notified_after_end:
            return "lost"
        if self.error is not None:
            allowed = isinstance(self.error, ALLOWED_ERRORS[self.plan.fate])
            are_first = all(has_first_records(part.trace.columns, kind) for _, part in self.chunks)
            return "ended_early" if allowed and are_first else "wrong"
        whole = SimulationResult.concatenate([part for _, part in self.chunks])
        right = has_expected_outputs(whole.outputs, kind) and has_expected_records(
            whole.trace.columns, kind
        )
        return "finished" if right else "wrong"


def main() -> None:
    """Print one line of JSON."""
    parsed = begin_child(__doc__, runs=int, device=str)
    # Listeners that fail are part of the measurement.
    logging.getLogger("energy_flow").setLevel(logging.CRITICAL)
    model = small_processor(parsed.device)
    plans = plan_runs(model, parsed.runs, seed=1)
    engine = Engine(device=parsed.device)
    engine.start()
    began = time.perf_counter()
    outcomes: Counter[str] = Counter()
    memory: list[int] = []
    left_over = 0
    for wave in waves(plans):
        outcomes += _run(engine, model, wave)
        left_over += _left_over(engine)
        gc.collect()
        memory.append(resident_bytes())
    seconds = time.perf_counter() - began
    engine.stop()
    print(json.dumps(figures(plans, outcomes, left_over, memory, seconds)))


def _run(engine: Engine, model: FlowProcessor, wave: Sequence[Planned]) -> Counter[str]:
    room = threading.Semaphore(AT_ONCE)
    callers: list[Caller] = []
    timers: list[threading.Timer] = []
    digest = engine.add_model(model).digest
    for number, plan in enumerate(wave):
        room.acquire(timeout=LOST_AFTER_SECONDS)
        caller = Caller(plan, room)
        run_id = f"run-{number}"
        late = plan.fate is Fate.LATE
        engine.submit(
            RunRequest(
                run_id=run_id,
                model=digest,
                config=model.config.with_options(plan.kind.options),
                embeddings=plan.kind.rows,
                seed=plan.kind.seed,
                sample_keys=range(len(plan.kind.rows)),
                outputs=OUTPUTS,
                deadline=time.monotonic() + plan.moment if late else None,
            ),
            caller,
        )
        if plan.fate is Fate.CANCELLED:
            timer = threading.Timer(plan.moment, engine.cancel, (run_id,))
            timer.start()
            timers.append(timer)
        callers.append(caller)
    until = time.monotonic() + LOST_AFTER_SECONDS
    for caller in callers:
        caller.done.wait(max(0.0, until - time.monotonic()))
    for timer in timers:
        timer.join()
    return Counter(caller.outcome() for caller in callers)


def _left_over(engine: Engine) -> int:
    """Return the number of runs and flows that are in the engine after every run has ended."""
    until = time.monotonic() + EMPTY_WITHIN_SECONDS
    while True:
        status = engine.status()
        held = status.queued_runs + status.active_runs + status.active_flows
        if not held or time.monotonic() > until:
            return held
        time.sleep(0.01)


if __name__ == "__main__":
    main()
