"""Where a trace comes from: a run on a server, or a Parquet file here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from energy_flow.client import FlowClient
from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_server_extra

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records; ``None`` leaves nothing out."""

    kind: list[str] | None = None
    sample: list[int] | None = None
    flow: list[int] | None = None
    step_from: int | None = None
    step_to: int | None = None
    limit: int | None = None


class TraceSource(Protocol):
    """A trace that can be read in parts and written in other formats."""

    def counters(self) -> Mapping[str, Mapping[str, int]] | None:
        """Records by kind that were made, recorded and dropped; none where nobody counted."""
        ...

    def columns(self, filters: Filters) -> Columns:
        """The records that the filters leave; ``kind`` as codes."""
        ...

    def convert(self, filters: Filters, format: str, to: Path) -> None:
        """Writes them to a file."""

    def draw(self, sample: int, flow: int | None, to: Path) -> None:
        """Writes a picture of one sample's surface and paths."""


@dataclass(frozen=True, slots=True)
class ServerTrace:
    """The trace of a run that a server keeps."""

    client: FlowClient
    run_id: str

    def counters(self) -> Mapping[str, Mapping[str, int]] | None:
        """As the run counted them."""
        trace: Mapping[str, Any] | None = self.client.run(self.run_id).data.get("trace")
        if trace is None:
            return None
        return {name: trace[name] for name in ("totals", "recorded", "dropped")}

    def columns(self, filters: Filters) -> Columns:
        """Read from the server."""
        return self.client.trace(self.run_id, **asdict(filters)).columns

    def convert(self, filters: Filters, format: str, to: Path) -> None:
        """The server writes it."""
        self.client.download_trace(self.run_id, to, format=format, **asdict(filters))

    def draw(self, sample: int, flow: int | None, to: Path) -> None:
        """From a replay of the sample."""
        with needing_server_extra("a picture"):
            from service.plots.paths import draw_paths

            replay = self.client.replay(self.run_id, sample, flow=flow)
            surface = None
            if "surface" in self.client.run(self.run_id).data["outputs"]:
                surface = self.client.outputs(self.run_id, "surface")[sample]
            title = f"sample {sample} of run {self.run_id[:8]}"
            if flow is not None:
                title += f", flow {flow} and its kin"
            draw_paths(replay.path, surface, title, to)


@dataclass(frozen=True, slots=True)
class FileTrace:
    """A Parquet file, as ``energy-flow simulate --out`` and the server write it."""

    path: Path

    def counters(self) -> Mapping[str, Mapping[str, int]] | None:
        """A file holds records, not counts."""
        return None

    def columns(self, filters: Filters) -> Columns:
        """Read from the file."""
        with self._reading():
            from energy_flow.trace.formats import columns_of

            return columns_of(self._batches(filters))

    def convert(self, filters: Filters, format: str, to: Path) -> None:
        """Written piece by piece."""
        with self._reading():
            from energy_flow.trace.formats import FORMATS

            unfinished = to.with_name(f".{to.name}.part")
            try:
                with unfinished.open("wb") as file:
                    for piece in FORMATS[format].pieces(self._batches(filters)):
                        file.write(piece)
                unfinished.replace(to)
            finally:
                unfinished.unlink(missing_ok=True)

    def draw(self, sample: int, flow: int | None, to: Path) -> None:
        """Refused: a file has no paths."""
        raise CommandFailed(
            "a picture needs a run on a server, which simulates the sample again: a file holds "
            "events, not paths",
            EXIT_USAGE,
        )

    def _batches(self, filters: Filters) -> Any:
        from energy_flow.trace.formats import TraceFilter, read_batches

        keep = TraceFilter(
            kinds=None if filters.kind is None else frozenset(filters.kind),
            samples=None if filters.sample is None else frozenset(filters.sample),
            flows=None if filters.flow is None else frozenset(filters.flow),
            step_from=filters.step_from,
            step_to=filters.step_to,
        )
        return read_batches([self.path], keep, filters.limit)

    def _reading(self) -> Any:
        return needing_server_extra("reading a trace here")
