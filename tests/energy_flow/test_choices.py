"""The closed lists of names: what belongs to each name exists and agrees with what is computed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from energy_flow import ARITHMETIC
from energy_flow.choices import (
    ENDED_STATES,
    TALLIED,
    TRANSITIONS,
    UNFINISHED_STATES,
    Axis,
    DatasetFormat,
    Output,
    Plane,
    Precision,
    Reason,
    ResultFormat,
    RunState,
    TraceFormat,
    TraceKeep,
    TraceKind,
    Wall,
    arithmetic_of,
    names_of,
    unknown_name,
)
from energy_flow.simulation.tally.outputs import output_shape, sample_bytes
from energy_flow.trace.formats import encode_trace
from energy_flow.trace.records import KINDS, PLANES, REASONS
from tests.support.repository import ROOT
from tests.support.small_model import embeddings, make_untrained

DOCS = ROOT / "docs"


def test_only_the_standard_library_is_loaded() -> None:
    code = (
        "import sys; import energy_flow.choices; "
        "known = {*sys.stdlib_module_names, 'energy_flow'}; "
        "print(*({name.partition('.')[0] for name in sys.modules} - known - {'__main__'}))"
    )
    # -S: what the site adds to every process is not loaded by this module.
    root = str(ROOT)
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {root!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.split() == []


def test_codes_are_those_of_stored_traces() -> None:
    """docs/simulation.md §5 fixes the numbers; stored files have them."""
    assert KINDS == ("spawn", "reflect", "terminate")
    assert REASONS == ("plane", "projected", "converged", "max_steps", "stalled")
    assert PLANES == ("z0", "zdepth")
    assert [kind.code for kind in TraceKind] == [0, 1, 2]
    assert [reason.code for reason in Reason] == [0, 1, 2, 3, 4]
    assert [plane.code for plane in Plane] == [0, 1]
    assert {wall.value: wall.bit for wall in Wall} == {
        "x_low": 1,
        "x_high": 2,
        "y_low": 4,
        "y_high": 8,
    }
    assert tuple(Reason)[: len(TALLIED)] == TALLIED, "the others follow"


def test_the_newest_arithmetic_is_the_largest_of_all_precisions() -> None:
    numbers = [arithmetic_of(precision) for precision in Precision]
    assert min(numbers) >= 1
    assert max(numbers) == ARITHMETIC


def test_outputs_have_the_declared_shapes_dtypes_and_bytes() -> None:
    processor, samples = make_untrained(), 2
    result = processor.simulate(embeddings(samples), outputs=names_of(Output))
    assert tuple(result.outputs) == names_of(Output)
    for output in Output:
        array = result.outputs[output.value]
        assert array.dtype == np.dtype(output.dtype)
        assert array.shape == (samples, *output_shape(output, processor.config))
        assert array.nbytes == samples * sample_bytes([output], processor.config)


@pytest.mark.parametrize("output", Output)
def test_outputs_are_documented(output: Output) -> None:
    lengths = {Axis.PLANE: "2", Axis.Y: "H", Axis.X: "W", Axis.EMBEDDING: "E_out"}
    shape = ", ".join(["B", *(lengths[axis] for axis in output.axes)])
    row = f"| `{output}` | [{shape}] | {output.dtype} | "
    assert row in (DOCS / "simulation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("trace_format", TraceFormat)
def test_trace_formats_can_be_written_and_are_documented(trace_format: TraceFormat) -> None:
    assert b"".join(encode_trace(trace_format, iter([]))) or trace_format is TraceFormat.NDJSON
    row = (
        f"| `{trace_format}` | `{trace_format.media_type}` | `{trace_format.suffixes[0]}` | "
        f"{trace_format.description}"
    )
    assert row in (DOCS / "trace_format.md").read_text(encoding="utf-8")


def test_an_unknown_trace_format_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        encode_trace("xml", iter([]))


@pytest.mark.parametrize("formats", [TraceFormat, DatasetFormat, ResultFormat])
def test_suffixes_and_media_types_distinguish_formats(
    formats: type[TraceFormat | DatasetFormat | ResultFormat],
) -> None:
    suffixes = [suffix for known in formats for suffix in known.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") for suffix in suffixes)
    media_types = [known.media_type for known in formats if known.media_type]
    assert len(set(media_types)) == len(media_types)


def test_every_state_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(RunState)
    assert set(ENDED_STATES) | set(UNFINISHED_STATES) == set(RunState)
    for state in UNFINISHED_STATES:
        assert set(TRANSITIONS[state]) & {*ENDED_STATES, RunState.RUNNING}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("latst", "known are latest, earliest, lossless; did you mean 'latest'?"),
        ("x", "known are latest, earliest, lossless"),
    ],
)
def test_close_names_are_suggested(name: str, message: str) -> None:
    assert unknown_name(name, TraceKeep) == message
