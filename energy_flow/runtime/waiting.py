"""How the threads of OpenMP wait for each other: spinning, or asleep while others use the cores.

A step on a CPU has hundreds of short parallel parts. A thread that has done its share of one spins
for some milliseconds until the others are done. That is fastest while each thread has a core. Where
other processes use the cores, the thread that is waited for may not run, and the one that spins
uses up the time that both share: a step then takes several times as long. A thread that sleeps
leaves its core to others, but waking it costs time in every part.

So ``WaitControl`` measures how long the threads of this process wait for a core, and lets them spin
only while they do not. While this process does not compute, the number of threads of others that
run shows what to expect. GCC's runtime, which torch brings under Linux, has no function for that.
But while there are more OpenMP threads than cores, its threads spin for microseconds only. So an
idle team of threads exists while others use the cores.

Programs use this; importing it changes nothing. It does not import torch.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from energy_flow.runtime.cgroup import find_throttle_counts, read_throttled_seconds

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.05
"""Time between two measurements while this process computes."""
IDLE_INTERVAL_SECONDS = 0.1
"""Time between two measurements while it does not."""
BUSY_SHARE = 0.2
"""Processor time, per time, from which on this process computes."""
CONTENDED_SHARE = 0.1
"""Time for which threads wait for a core, per time, from which on they sleep."""
FREE_SHARE = 0.03
"""The same, up to which the cores count as free."""
FREE_MEASUREMENTS = 3
"""Measurements in a row with free cores after which threads spin again."""

_GCC_POLICY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_LLVM_POLICY = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY")
_LLVM_SPINNING_MS = "1"
_TASKS = Path("/proc/self/task")
_LOAD = Path("/proc/loadavg")


def bound_spinning() -> None:
    """Bound the spinning of LLVM's and Intel's runtime to a millisecond; by default it is 200.

    They read the environment when they are loaded, so programs call this before they import torch.
    A policy that the user has set is kept. GCC's runtime does not read what is set here.
    """
    if not any(name in os.environ for name in _LLVM_POLICY):
        os.environ["KMP_BLOCKTIME"] = _LLVM_SPINNING_MS


@dataclass(frozen=True, slots=True)
class CoreUse:
    """What the threads of a process had of the cores, in seconds since its start.

    Attributes:
        at: when this was measured.
        computed: processor time of all threads.
        preempted: how often a thread had to leave a core, though it could have gone on.
        waited: time for which each thread, by id, could run and had no core.
        throttled: time for which a quota of the control group kept threads from running.
        running: how many threads of the machine run now or could run, without the one that asks.
    """

    at: float
    computed: float
    preempted: int
    waited: dict[str, float]
    throttled: float
    running: int

    def computed_share(self, before: CoreUse) -> float:
        """Return the processor time per time since an earlier measurement."""
        return (self.computed - before.computed) / (self.at - before.at)

    def waited_share(self, before: CoreUse) -> float:
        """Return for how long threads waited for a core, per time since an earlier measurement."""
        waited = sum(
            seconds - before.waited[thread]
            for thread, seconds in self.waited.items()
            if thread in before.waited
        )
        return (waited + self.throttled - before.throttled) / (self.at - before.at)


class CoreMeter:
    """Measures what the threads of this process have of the cores."""

    def __init__(self) -> None:
        self._throttle_counts = find_throttle_counts()
        self._last: CoreUse | None = None

    def measure(self) -> CoreUse:
        """Return what the threads have had until now."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        last = self._last
        # Reading the time of each thread takes longest. If none was preempted, none waited long.
        is_same = last is not None and last.preempted == usage.ru_nivcsw
        self._last = CoreUse(
            time.monotonic(),
            usage.ru_utime + usage.ru_stime,
            usage.ru_nivcsw,
            last.waited if last is not None and is_same else _read_waiting(),
            read_throttled_seconds(self._throttle_counts),
            _count_running(),
        )
        return self._last


class WaitControl:
    """Lets the threads of OpenMP sleep while others use the cores.

    Args:
        runtime: the OpenMP runtime of GCC, as :func:`find_runtime` returns it.
    """

    def __init__(self, runtime: ctypes.CDLL) -> None:
        self._runtime = runtime
        self._cores = os.cpu_count() or 1
        self._team: _IdleTeam | None = None
        self._free = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="energy-flow-wait-control", daemon=True
        )

    @property
    def are_threads_sleeping(self) -> bool:
        """Whether threads that wait go to sleep at once."""
        return self._team is not None

    def start(self) -> None:
        """Start to measure, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and let threads spin."""
        self._stopping.set()
        self._thread.join()

    def decide(self, now: CoreUse, before: CoreUse) -> bool:
        """Choose how threads wait, and return whether this process computes.

        Args:
            now: a measurement.
            before: the one before it.
        """
        computes = now.computed_share(before) >= BUSY_SHARE
        if computes:
            waited = now.waited_share(before)
            are_taken, are_free = waited >= CONTENDED_SHARE, waited <= FREE_SHARE
        else:
            are_taken, are_free = now.running >= self._cores, now.running == 0
        self._free = self._free + 1 if are_free else 0
        if are_taken and self._team is None:
            self._team = _IdleTeam(self._runtime)
        elif self._free >= FREE_MEASUREMENTS:
            self._let_spin()
        return computes

    def _let_spin(self) -> None:
        if self._team is not None:
            self._team.end()
            self._team = None

    def _run(self) -> None:
        interval = INTERVAL_SECONDS
        try:
            meter = CoreMeter()
            before = meter.measure()
            while not self._stopping.wait(interval):
                now = meter.measure()
                interval = INTERVAL_SECONDS if self.decide(now, before) else IDLE_INTERVAL_SECONDS
                before = now
        except Exception:
            # Threads go on as the runtime lets them.
            logger.exception("how threads wait is not controlled any more")
        finally:
            self._let_spin()


class _IdleTeam:
    """A team of threads that does nothing, with more threads than there are cores."""

    def __init__(self, runtime: ctypes.CDLL) -> None:
        self._runtime = runtime
        self._over = threading.Event()
        # A runtime ends a team with the thread that started it.
        self._thread = threading.Thread(
            target=self._hold, name="energy-flow-idle-team", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """End the team."""
        self._over.set()
        self._thread.join()

    def _hold(self) -> None:
        threads = self._runtime.omp_get_num_procs() + 1
        # Each thread calls a function of the runtime that does nothing else.
        function = ctypes.cast(self._runtime.omp_get_thread_num, ctypes.c_void_p)
        self._runtime.GOMP_parallel(function, None, ctypes.c_uint(threads), ctypes.c_uint(0))
        self._over.wait()


def find_runtime() -> ctypes.CDLL | None:
    """Return the OpenMP runtime that this process has loaded, if ``WaitControl`` can control it.

    That is GCC's under Linux, unless the user has set a policy.
    """
    if any(name in os.environ for name in _GCC_POLICY) or not _TASKS.is_dir():
        return None
    loaded = ctypes.CDLL(None)
    is_gcc = hasattr(loaded, "GOMP_parallel") and not hasattr(loaded, "kmp_set_blocktime")
    return loaded if is_gcc and _read_waiting() else None


def _read_waiting() -> dict[str, float]:
    """Return for how long each thread of this process could run and had no core, in seconds."""
    waiting = {}
    for task in os.scandir(_TASKS):
        try:
            text = Path(task.path, "schedstat").read_text(encoding="ascii")
            waiting[task.name] = int(text.split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            # The thread has ended, or this kernel does not count.
            continue
    return waiting


def _count_running() -> int:
    """Return how many threads of the machine run or could run now, without this one."""
    running, _, _ = _LOAD.read_text(encoding="ascii").split()[3].partition("/")
    return int(running) - 1
