"""How far an experiment's trials are, how fast they go, and how long the rest will take."""

from __future__ import annotations

import time


class Pace:
    """Sums over trials, kept up to date as each of them goes on.

    A sample that is left is taken to be as much work as samples were so far, in proportion to the
    steps that its trial allows; the rest takes as long as that work does at the rate since the
    server's start, while trials were at work.

    Attributes:
        samples_done, flow_steps: of all trials, in chunks that are kept.

    Args:
        samples: of each trial.
        by_samples: work is measured by samples, not by flow-steps, which are not told.
    """

    def __init__(self, samples: int, *, by_samples: bool) -> None:
        self.samples_done = self.flow_steps = 0
        self._samples = samples
        self._by_samples = by_samples
        self._done: dict[int, tuple[int, int]] = {}
        self._step_limits: dict[int, int] = {}
        # Samples times the steps that they are allowed: done, and left.
        self._allowed_done = self._allowed_left = 0
        self._measured_from = 0
        self._busy_seconds = 0.0
        self._busy_since: float | None = None

    def enter(self, number: int, step_limit: int, samples_done: int, flow_steps: int) -> None:
        """A trial with what it had at the server's start."""
        self._done[number] = (0, 0)
        self._step_limits[number] = step_limit
        self._allowed_left += self._samples * step_limit
        self.note(number, samples_done, flow_steps)
        self._measured_from = self._work

    def note(self, number: int, samples_done: int, flow_steps: int) -> None:
        """How far a trial is."""
        samples_before, steps_before = self._done[number]
        self._done[number] = (samples_done, flow_steps)
        allowed = (samples_done - samples_before) * self._step_limits[number]
        self.samples_done += samples_done - samples_before
        self.flow_steps += flow_steps - steps_before
        self._allowed_done += allowed
        self._allowed_left -= allowed

    def leave(self, number: int) -> None:
        """A trial has ended; what it has not done is not left to do."""
        self._allowed_left -= (self._samples - self.samples_of(number)) * self._step_limits[number]
        # What may still be noted of it changes nothing about that.
        self._step_limits[number] = 0

    def samples_of(self, number: int) -> int:
        """Samples of a trial."""
        return self._done[number][0]

    def busy(self, is_busy: bool) -> None:
        """Whether trials are at work from now on; time without any is not measured."""
        now = time.monotonic()
        if self._busy_since is not None:
            self._busy_seconds += now - self._busy_since
        self._busy_since = now if is_busy else None

    def seconds_left(self) -> float | None:
        """Until all trials have ended; nothing before a measurement."""
        seconds = self._busy_seconds
        if self._busy_since is not None:
            seconds += time.monotonic() - self._busy_since
        measured = self._work - self._measured_from
        if measured <= 0 or seconds <= 0 or self._allowed_done <= 0:
            return None
        work_left = self._allowed_left * self._work / self._allowed_done
        return work_left * seconds / measured

    @property
    def _work(self) -> int:
        return self.samples_done if self._by_samples else self.flow_steps
