"""Many runs through one engine, most of them disturbed; a process of ``soak``.

    python -m benchmarks.engine_soak RUNS DEVICE

Runs come in waves; after each the engine must be empty and the memory where it was.
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
from typing import Any

from benchmarks.child_process import begin
from benchmarks.resident import growth, resident_bytes
from benchmarks.soak_runs import (
    OUTPUTS,
    Fate,
    Planned,
    is_beginning,
    kinds,
    planned,
    same_outputs,
    same_records,
    small_processor,
)
from energy_flow import FlowProcessor, SimulationResult
from energy_flow.engine import Engine, RunListener, RunRequest
from energy_flow.errors import DeadlineExceeded, EnergyFlowError, RunCancelled
from energy_flow.telemetry.counters import StepMetrics

KINDS = 24
WAVES = 10
AT_ONCE = 32
LONGEST_SECONDS = 1.0
LOST_AFTER_SECONDS = 120
EMPTY_WITHIN_SECONDS = 5

ALLOWED: dict[Fate, tuple[type[EnergyFlowError], ...]] = {
    Fate.LEFT_ALONE: (),
    Fate.CANCELLED: (RunCancelled,),
    Fate.HUNG_UP: (RunCancelled,),
    Fate.LATE: (DeadlineExceeded,),
}


@dataclass
class Caller(RunListener):
    """Hears of one run and keeps what it hears; some hang up in the middle."""

    plan: Planned
    room: threading.Semaphore
    done: threading.Event = field(default_factory=threading.Event)
    chunks: list[tuple[int, SimulationResult]] = field(default_factory=list)
    endings: int = 0
    heard_after_end: bool = False
    error: EnergyFlowError | None = None
    began: float = field(default_factory=time.monotonic)

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """A caller that has gone breaks here, as a connection would."""
        self.heard_after_end |= self.endings > 0
        gone = time.monotonic() - self.began > self.plan.moment
        if self.plan.fate is Fate.HUNG_UP and gone:
            raise ConnectionResetError("the caller has gone")

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Some samples have ended."""
        self.heard_after_end |= self.endings > 0
        self.chunks.append((first_sample, result))

    def ended(self, error: EnergyFlowError | None) -> None:
        """All have."""
        self.endings += 1
        self.error = error
        self.room.release()
        self.done.set()

    def verdict(self) -> str:
        """``finished``, ``broken_off``, or what is wrong."""
        kind = self.plan.kind
        if self.endings != 1 or self.heard_after_end:
            return "lost"
        if self.error is not None:
            allowed = isinstance(self.error, ALLOWED[self.plan.fate])
            beginnings = all(is_beginning(part.trace.columns, kind) for _, part in self.chunks)
            return "broken_off" if allowed and beginnings else "wrong"
        whole = SimulationResult.concatenate([part for _, part in self.chunks])
        right = same_outputs(whole.outputs, kind) and same_records(whole.trace.columns, kind)
        return "finished" if right else "wrong"


def main() -> None:
    """Prints one line of JSON."""
    asked = begin(__doc__, runs=int, device=str)
    # Listeners that break are part of the plan.
    logging.getLogger("energy_flow").setLevel(logging.CRITICAL)
    model = small_processor(asked.device)
    known = kinds(model, KINDS, seed=0)
    plans = planned(known, asked.runs, LONGEST_SECONDS, seed=1)
    engine = Engine(device=asked.device)
    engine.start()
    began = time.perf_counter()
    verdicts: Counter[str] = Counter()
    memory: list[int] = []
    left_over = 0
    size = -(-len(plans) // WAVES)
    for first in range(0, len(plans), size):
        verdicts += _wave(engine, model, plans[first : first + size], first)
        left_over += _left_over(engine)
        gc.collect()
        memory.append(resident_bytes())
    seconds = time.perf_counter() - began
    engine.stop()
    print(json.dumps(_told(plans, verdicts, left_over, memory, seconds)))


def _wave(
    engine: Engine, model: FlowProcessor, plans: Sequence[Planned], first: int
) -> Counter[str]:
    room = threading.Semaphore(AT_ONCE)
    callers: list[Caller] = []
    timers: list[threading.Timer] = []
    digest = engine.add_model(model).digest
    for number, plan in enumerate(plans, first):
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
    return Counter(caller.verdict() for caller in callers)


def _left_over(engine: Engine) -> int:
    """Runs and flows that are still in the engine although every run has ended."""
    until = time.monotonic() + EMPTY_WITHIN_SECONDS
    while True:
        status = engine.status()
        held = status.queued_runs + status.active_runs + status.active_flows
        if not held or time.monotonic() > until:
            return held
        time.sleep(0.01)


def _told(
    plans: Sequence[Planned],
    verdicts: Counter[str],
    left_over: int,
    memory: list[int],
    seconds: float,
) -> dict[str, Any]:
    return {
        "runs": len(plans),
        "fates": dict(Counter(plan.fate.value for plan in plans)),
        "finished": verdicts["finished"],
        "broken_off": verdicts["broken_off"],
        "lost": verdicts["lost"],
        "wrong": verdicts["wrong"],
        "left_over": left_over,
        "resident_bytes_after_waves": memory,
        "growth_bytes": round(growth(memory)),
        "seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    main()
