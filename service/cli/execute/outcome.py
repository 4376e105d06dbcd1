"""The results of ``simulate``: a summary for people, one JSON document, a folder of files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from energy_flow.choices import Output
from service.cli.input.failures import CommandFailed
from service.cli.input.terminal import count_things, format_bytes, properties_table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table


_REPORT: Final = "metrics.json"
_OUTPUTS: Final = frozenset(f"{known}.npy" for known in Output)
SHORT_PREPARATION_SECONDS = 0.1
"""Time of preparation up to which it is not shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulation that has ended, in this process or on a server.

    Attributes:
        outputs: arrays by name.
        report: all other results as plain JSON data: ``run_id``, ``model``, ``seed``,
            ``sample_keys``, ``metrics``, ``trace``, ``memory``, ``timing``, ``samples``,
            ``warnings``.
        write_trace: writes the trace as Parquet to a path.
        write_picture: writes a heat map of the first sample's surface to a path.
    """

    outputs: Mapping[str, NDArray[Any]]
    report: Mapping[str, Any]
    write_trace: Callable[[Path], object]
    write_picture: Callable[[Path], object]

    def write(self, folder: Path) -> list[Path]:
        """Write the outputs, the trace, the report and a picture; all of them or none.

        Results of an earlier run in the folder are replaced, all of them.

        Args:
            folder: created if missing.

        Returns:
            The files.

        Raises:
            CommandFailed: the folder cannot be written.
        """
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists() and not folder.is_dir():
                raise CommandFailed(f"{folder} is a file, not a folder; choose another --out")
            # In the parent folder, so that each file is moved within one file system.
            part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                names = self._write_into(part)
                is_used = (folder / _REPORT).exists()
                folder.mkdir(exist_ok=True)
                for name in names:
                    (part / name).replace(folder / name)
                for name in _OUTPUTS - set(names) if is_used else ():
                    # Of the earlier run: it would lie beside the report of this one.
                    (folder / name).unlink(missing_ok=True)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise CommandFailed(f"{folder} cannot be written: {error.strerror or error}") from None
        return [folder / name for name in names]

    def _write_into(self, folder: Path) -> list[str]:
        import numpy as np

        names = []
        for name, array in self.outputs.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
            names.append(f"{name}.npy")
        self.write_trace(folder / "trace.parquet")
        (folder / _REPORT).write_bytes(
            orjson.dumps(
                self.report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY, default=str
            )
        )
        self.write_picture(folder / "surface.png")
        return [*names, "trace.parquet", _REPORT, "surface.png"]


def summary(report: Mapping[str, Any], outputs: Mapping[str, NDArray[Any]]) -> Table:
    """Return the results in a few lines for people."""
    metrics, timing = report["metrics"], report["timing"]
    rows = [("model", describe_model(report["model"]["name"], report["model"]["trained"]))]
    if report.get("run_id"):
        rows += [("run", report["run_id"]), ("page", report["page"])]
    rows += [(name, describe_output(array)) for name, array in outputs.items()]
    rows += [
        ("flows", describe_flows(metrics)),
        ("events", describe_events(report["trace"])),
        *((f"exits {plane}", text) for plane, text in describe_exits(metrics).items()),
        ("path", describe_path(metrics)),
        ("memory", describe_memory(report["memory"])),
        ("time", describe_time(timing, metrics)),
        *(("warning", warning) for warning in report["warnings"]),
    ]
    return properties_table(rows)


def describe_model(name: str, is_trained: bool) -> str:
    """Return the name of a model and whether it is trained."""
    return f"{name} ({'trained' if is_trained else 'untrained'})"


def describe_labels(
    name: str | None, tags: Sequence[str], note: str | None
) -> list[tuple[str, str]]:
    """Return rows with the name, the tags and the note of a run or an experiment, where given."""
    rows = (("name", name), ("tags", ", ".join(tags)), ("note", note))
    return [(label, text) for label, text in rows if text]


def describe_version(version: str | None, arithmetic: int) -> str:
    """Return the version of Energy Flow that computes something, and its arithmetic.

    Args:
        version: ``None`` if it is not known.
        arithmetic: its number.
    """
    return f"{version or 'not known'}, arithmetic {arithmetic}"


def describe_output(array: NDArray[Any]) -> str:
    """Return shape, dtype and range of an output; of booleans, how many are true."""
    shape = " × ".join(str(length) for length in array.shape)
    if array.size == 0:
        return f"{shape}, {array.dtype}"
    if array.dtype.kind == "b":
        return f"{shape}, {array.dtype}, {int(array.sum()):,} of {array.size:,} true"
    low, high = float(array.min()), float(array.max())
    return f"{shape}, {array.dtype}, from {low:.4g} to {high:.4g}"


def describe_flows(metrics: Mapping[str, Any]) -> str:
    """Return how many flows there were and how they ended."""
    text = (
        f"{metrics['created']:,} = {metrics['initial']:,} initial + {metrics['spawned']:,} spawned"
        f"; {metrics['completed']:,} completed, {metrics['stalled']:,} stalled"
    )
    if metrics["spawns_suppressed"]:
        text += f"; {metrics['spawns_suppressed']:,} spawns suppressed"
    return text


def describe_events(trace: Mapping[str, Any]) -> str:
    """Return the number of trace records by kind, and how many were dropped."""
    dropped = sum(trace["dropped"].values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in trace["totals"].items())
    return f"{kinds}; {dropped:,} dropped" if dropped else f"{kinds}; none dropped"


def describe_exits(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return for each exit plane how many flows left by it, their share and the reasons."""
    completed = metrics["completed"]
    exits = metrics.get("exits") or {}
    described = {}
    for plane, count in metrics["planes"].items():
        share = f" ({count / completed:.1%})" if completed else ""
        reasons = ", ".join(
            f"{number:,} {reason}" for reason, number in exits.get(plane, {}).items() if number
        )
        described[plane] = f"{count:,}{share}" + (f": {reasons}" if reasons else "")
    return described


def describe_path(metrics: Mapping[str, Any]) -> str:
    """Return the mean path of the flows."""
    steps, length = metrics["mean_path_steps"], metrics["mean_path_length"]
    if steps is None or length is None:
        return "none"
    in_all = count_things(metrics["steps"], "step")
    return f"{steps:.2f} steps and {length:.3f} long on average; {in_all} in all"


def describe_memory(memory: Mapping[str, Any]) -> str:
    """Return the memory that the run needed on the device and the host."""
    parts = [
        f"{format_bytes(memory['state_bytes'])} of flow state",
        f"{format_bytes(memory['trace_bytes'])} of trace",
        f"{format_bytes(memory['predicted_bytes'])} predicted",
    ]
    if memory["device"]["peak_bytes"] is not None:
        parts.append(f"device peak {format_bytes(memory['device']['peak_bytes'])}")
    if memory["host"]["peak_rss_bytes"] is not None:
        parts.append(f"host peak {format_bytes(memory['host']['peak_rss_bytes'])}")
    return ", ".join(parts)


def describe_time(timing: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return duration and speed of the run."""
    text = f"{timing['compute_ms'] / 1000:.2f} s"
    # Servers do not report it.
    preparation = timing.get("preparation_ms", 0.0) / 1000
    if preparation >= SHORT_PREPARATION_SECONDS:
        text += f", of which {preparation:.2f} s preparation that later runs do not need,"
    text += f" for {metrics['flow_steps']:,} flow-steps"
    speed = timing.get("flow_steps_per_second")
    return f"{text}, {speed:,.0f} a second" if speed else text
