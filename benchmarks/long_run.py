"""Streams a large run through the engine, and measures resident memory; a process of ``memory``.

python -m benchmarks.long_run SAMPLES DEVICE
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.child_process import begin_child
from benchmarks.resident import growth, resident_bytes
from benchmarks.workload import embeddings, processor
from energy_flow.engine import Engine, RunListener, RunRequest
from energy_flow.errors import EnergyFlowError
from energy_flow.simulation.tally.result import SimulationResult

FIRST = 100


@dataclass(frozen=True, slots=True)
class RepeatedRows:
    """Repeated embeddings that need no memory.

    Attributes:
        rows: number of embeddings.
    """

    rows: int

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return embeddings, [stop - start, E].

        Args:
            start: first row.
            stop: row after the last.
        """
        return embeddings(stop - start, start)


@dataclass
class Watcher(RunListener):
    """A listener that discards results and reads the resident memory.

    Attributes:
        done: set when the run ends.
        error: why the run ended, or none.
        seen: number of samples done, and resident bytes then.
        flow_steps: number of flow-steps done.
    """

    done: threading.Event = field(default_factory=threading.Event)
    error: EnergyFlowError | None = None
    seen: list[tuple[int, int]] = field(default_factory=list)
    flow_steps: int = 0

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Read the memory, and discard the results."""
        self.seen.append((first_sample + len(result.samples), resident_bytes()))
        self.flow_steps += result.metrics.counters.flow_steps

    def ended(self, error: EnergyFlowError | None) -> None:
        """Note the end."""
        self.error = error
        self.done.set()


def main() -> None:
    """Print one line of JSON."""
    parsed = begin_child(__doc__, samples=int, device=str)
    model = processor("debug", parsed.device)
    engine, watcher = Engine(device=parsed.device), Watcher()
    engine.start()
    began = time.perf_counter()
    request = RunRequest(
        run_id="stream",
        model=engine.add_model(model).digest,
        config=model.config,
        embeddings=RepeatedRows(parsed.samples),
        seed=0,
        sample_keys=range(parsed.samples),
        streams=True,
    )
    engine.submit(request, watcher)
    watcher.done.wait()
    seconds = time.perf_counter() - began
    engine.stop()
    if watcher.error is not None:
        raise SystemExit(f"error: {watcher.error}")
    later = [size for samples, size in watcher.seen if samples > FIRST]
    sizes = [size for _, size in watcher.seen]
    figures = {
        "samples": parsed.samples,
        "seconds": round(seconds, 2),
        "flow_steps_per_second": round(watcher.flow_steps / seconds),
        "after_hundred_bytes": next(size for samples, size in watcher.seen if samples >= FIRST),
        "most_after_bytes": max(later),
        "end_bytes": sizes[-1],
        "growth_bytes": round(growth(sizes)),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
