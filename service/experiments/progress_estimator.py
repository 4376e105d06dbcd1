"""The progress of an experiment's trials, and an estimate of the time that is left."""

from __future__ import annotations

import time


class ProgressEstimator:
    """Sums over the trials of an experiment, updated while they run.

    The estimate assumes that a remaining sample needs as much work as samples have needed so far,
    in proportion to the steps that its trial allows. The remaining time is that work at the rate
    measured since the server's start while trials were running.

    Attributes:
        samples_done: Stored samples of all trials.
        flow_steps: Flow-steps of these samples.

    Args:
        samples: Number of samples of each trial.
        by_samples: Whether work is measured in samples, not in flow-steps.
    """

    def __init__(self, samples: int, *, by_samples: bool) -> None:
        self.samples_done = self.flow_steps = 0
        self._samples = samples
        self._by_samples = by_samples
        self._done: dict[int, tuple[int, int]] = {}
        self._step_limits: dict[int, int] = {}
        # Samples times the steps that their trials allow: done, and left.
        self._allowed_done = self._allowed_left = 0
        self._measured_from = 0
        self._busy_seconds = 0.0
        self._busy_since: float | None = None

    def add_trial(self, number: int, step_limit: int, samples_done: int, flow_steps: int) -> None:
        """Add a trial with what it had at the server's start.

        Args:
            number: Number of the trial.
            step_limit: Most steps of each of its flows.
            samples_done: Its stored samples.
            flow_steps: Flow-steps of these samples.
        """
        self._done[number] = (0, 0)
        self._step_limits[number] = step_limit
        self._allowed_left += self._samples * step_limit
        self.update(number, samples_done, flow_steps)
        self._measured_from = self._work

    def update(self, number: int, samples_done: int, flow_steps: int) -> None:
        """Set the progress of a trial.

        Args:
            number: Number of the trial.
            samples_done: Its stored samples.
            flow_steps: Flow-steps of these samples.
        """
        samples_before, steps_before = self._done[number]
        self._done[number] = (samples_done, flow_steps)
        allowed = (samples_done - samples_before) * self._step_limits[number]
        self.samples_done += samples_done - samples_before
        self.flow_steps += flow_steps - steps_before
        self._allowed_done += allowed
        self._allowed_left -= allowed

    def end_trial(self, number: int) -> None:
        """Remove what is left of an ended trial from the work that is left."""
        self._allowed_left -= (self._samples - self.samples_of(number)) * self._step_limits[number]
        # A later update of this trial must not change the work that is left.
        self._step_limits[number] = 0

    def samples_of(self, number: int) -> int:
        """Return the stored samples of a trial."""
        return self._done[number][0]

    def set_busy(self, is_busy: bool) -> None:
        """Set whether trials are running; time in which none is running is not measured."""
        now = time.monotonic()
        if self._busy_since is not None:
            self._busy_seconds += now - self._busy_since
        self._busy_since = now if is_busy else None

    def seconds_left(self) -> float | None:
        """Return the seconds until all trials have ended; ``None`` before a measurement."""
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
