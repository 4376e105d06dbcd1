"""Sources of a trace: a run on a server, or a Parquet file in this file system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from energy_flow.choices import Output, TraceFormat
from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_extra
from service.cli.input.terminal import count_things, print_note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from energy_flow.client import FlowClient

    Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records to read; ``None`` stands for all.

    Attributes:
        kind: names of :class:`energy_flow.choices.TraceKind`.
        sample: indices of samples.
        flow: ids of flows.
        step_from: first step.
        step_to: last step.
        limit: most records.
    """

    kind: list[str] | None = None
    sample: list[int] | None = None
    flow: list[int] | None = None
    step_from: int | None = None
    step_to: int | None = None
    limit: int | None = None


class TraceSource(Protocol):
    """A trace that can be read, converted and drawn."""

    def check_samples(self, samples: Iterable[int]) -> None:
        """Refuse samples that the run does not have, if the number of its samples is known.

        Raises:
            CommandFailed: the run has no such sample.
        """

    def counters(self) -> Mapping[str, Mapping[str, int]] | None:
        """Return numbers of records by kind: in all, recorded and dropped; none if not known."""
        ...

    def columns(self, filters: Filters) -> Columns:
        """Return the records that match the filters; ``kind`` as codes."""
        ...

    def convert(self, filters: Filters, format: TraceFormat, to: Path) -> None:
        """Write the records that match the filters to a file."""

    def draw(self, sample: int, flow: int | None, to: Path) -> None:
        """Write a picture of the surface and the paths of one sample.

        Args:
            sample: index of the sample.
            flow: draw this flow with its ancestors and descendants; all flows if not given.
            to: a PNG file.
        """


@dataclass(frozen=True, slots=True)
class ServerTrace:
    """The trace of a run on a server."""

    client: FlowClient
    run_id: str

    def check_samples(self, samples: Iterable[int]) -> None:
        """Refuse samples that the run does not have."""
        count = self.client.run(self.run_id).progress.samples
        for sample in samples:
            if sample >= count:
                raise CommandFailed(
                    f"--sample {sample}: run {self.run_id} has {count_things(count, 'sample')}, "
                    "counted from 0",
                    EXIT_USAGE,
                )

    def counters(self) -> Mapping[str, Mapping[str, int]] | None:
        """Return the numbers that the run counted."""
        trace: Mapping[str, Any] | None = self.client.run(self.run_id).data.get("trace")
        if trace is None:
            return None
        return {name: trace[name] for name in ("totals", "recorded", "dropped")}

    def columns(self, filters: Filters) -> Columns:
        """Fetch the records."""
        return self.client.trace(self.run_id, **asdict(filters)).columns

    def convert(self, filters: Filters, format: TraceFormat, to: Path) -> None:
        """Download the records in the format."""
        self.client.download_trace(self.run_id, to, format=format.value, **asdict(filters))

    def draw(self, sample: int, flow: int | None, to: Path) -> None:
        """Draw the paths of a replay."""
        with needing_extra("plots", "--picture"):
            from service.plots.paths import draw_paths

            replay = self.client.replay(self.run_id, sample, flow=flow)
            if replay.note is not None:
                print_note(f"note: {replay.note}")
            surface = self._surface(sample)
            title = f"sample {sample} of run {self.run_id[:8]}"
            if flow is not None:
                title += f", flow {flow} with its ancestors and descendants"
            draw_paths(replay.path, surface, title, to)

    def _surface(self, sample: int) -> NDArray[Any] | None:
        """Return the surface of a sample, if the run has it, without cells that are not reached."""
        from service.plots.unreached_cells import find_marks, hide_unreached

        data = self.client.run(self.run_id).data
        stored = data["outputs"]
        if Output.SURFACE not in stored:
            return None
        surface: NDArray[Any] = self.client.outputs(self.run_id, Output.SURFACE)[sample]
        marks = find_marks(stored, data["config"]["aggregation_mode"])
        if marks is None:
            return surface
        return hide_unreached(surface, self.client.outputs(self.run_id, marks)[sample])


@dataclass(frozen=True, slots=True)
class FileTrace:
    """A Parquet file, as ``energy-flow simulate --out`` and the server write it.

    Attributes:
        path: the file.
        name: what the user calls it.
    """

    path: Path
    name: Path

    def check_samples(self, samples: Iterable[int]) -> None:
        """Accept all: a file holds records without the number of samples."""

    def counters(self) -> Mapping[str, Mapping[str, int]] | None:
        """Return ``None``: a file holds records without counts."""
        return None

    def columns(self, filters: Filters) -> Columns:
        """Read the records."""
        with self._reading():
            from energy_flow.trace.batches import columns_of

            return columns_of(self._batches(filters))

    def convert(self, filters: Filters, format: TraceFormat, to: Path) -> None:
        """Write the records piece by piece."""
        with self._reading():
            from energy_flow.client.connection import write_atomically
            from energy_flow.trace.formats import encode_trace

            with write_atomically(to) as file:
                file.writelines(encode_trace(format, self._batches(filters)))

    def draw(self, sample: int, flow: int | None, to: Path) -> None:
        """Refuse: the records of a file are not paths."""
        raise CommandFailed(
            "--picture needs the id of a run on a server, which simulates the sample again; "
            "a file holds events without paths",
            EXIT_USAGE,
        )

    def _batches(self, filters: Filters) -> Any:
        from energy_flow.trace.reader import TraceFilter, check_columns, read_batches

        check_columns(self.path)
        keep = TraceFilter(
            kinds=None if filters.kind is None else frozenset(filters.kind),
            samples=None if filters.sample is None else frozenset(filters.sample),
            flows=None if filters.flow is None else frozenset(filters.flow),
            step_from=filters.step_from,
            step_to=filters.step_to,
        )
        return read_batches([self.path], keep, filters.limit)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with needing_extra("sim", "reading a trace file"):
            try:
                yield
            except (ValueError, KeyError, TypeError, NotImplementedError, OSError) as error:
                # An error of the file system names its file; one of Parquet's reader does not.
                if isinstance(error, OSError) and error.filename is not None:
                    raise
                raise CommandFailed(f"{self.name} is not a trace in Parquet: {error}") from None
