"""The Perfetto format, decoded with Perfetto's own schema."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    Trace,
    TracePacket,
    TrackEvent,
)

from energy_flow.trace.formats import StepCounter
from energy_flow.trace.formats.perfetto import FLOW_BITS, STEP_NANOSECONDS, encode
from energy_flow.trace.reader import TraceFilter, read_batches
from energy_flow.trace.records import REASONS
from tests.support.traces import SAMPLES, result, stored


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("perfetto"))


class Decoded:
    """A decoded trace, with names in place of the numbers that stand for them."""

    def __init__(self, data: bytes) -> None:
        self.packets: list[Any] = list(Trace.FromString(data).packet)
        (interned,) = (p.interned_data for p in self.packets if p.HasField("interned_data"))
        self.names = {entry.iid: entry.name for entry in interned.event_names}
        self.arguments = {entry.iid: entry.name for entry in interned.debug_annotation_names}
        self.texts = {
            entry.iid: entry.str.decode() for entry in interned.debug_annotation_string_values
        }
        self.tracks = {
            p.track_descriptor.uuid: p.track_descriptor
            for p in self.packets
            if p.HasField("track_descriptor")
        }
        self.events = [p for p in self.packets if p.HasField("track_event")]

    def of(self, kind: int, name: str | None = None) -> list[Any]:
        """Return the packets of events of a type and a name."""
        return [
            p
            for p in self.events
            if p.track_event.type == kind
            and (name is None or self.names.get(p.track_event.name_iid) == name)
        ]

    def annotations(self, packet: Any) -> dict[str, Any]:
        """Return the arguments of an event."""
        found = {}
        for argument in packet.track_event.debug_annotations:
            which = argument.WhichOneof("value")
            value = getattr(argument, which)
            name = self.arguments[argument.name_iid]
            found[name] = self.texts[value] if which == "string_value_iid" else value
        return found


@cache
def decoded(path: Path) -> Decoded:
    return Decoded(b"".join(encode(read_batches([path]))))


def test_counts_equal_the_metrics(path: Path) -> None:
    trace, counters = decoded(path), result().metrics.counters
    assert counters.spawned > 20
    begins = trace.of(TrackEvent.TYPE_SLICE_BEGIN)
    assert len(begins) == counters.created
    assert len(trace.of(TrackEvent.TYPE_SLICE_END)) == counters.ended
    instant = TrackEvent.TYPE_INSTANT
    assert len(trace.of(instant, "spawn")) == counters.spawned
    assert len(trace.of(instant, "reflect")) == counters.to_dict()["reflected"]
    ends = [trace.annotations(packet) for packet in trace.of(instant, "terminate")]
    assert Counter(end["reason"] for end in ends) == {
        reason: count for reason, count in counters.terminated.items() if count
    }
    planes = Counter(end["plane"] for end in ends if end["plane"] != "none")
    assert planes == counters.planes


def test_a_process_a_sample_and_a_track_a_flow(path: Path) -> None:
    trace = decoded(path)
    processes = [track for track in trace.tracks.values() if track.HasField("process")]
    assert [process.process.pid for process in processes] == list(range(1, SAMPLES + 1))
    assert processes[0].process.process_name == "sample 0"
    flows = [track for track in trace.tracks.values() if track.parent_uuid]
    assert len(flows) == result().metrics.counters.created
    assert {track.parent_uuid for track in flows} == {process.uuid for process in processes}
    assert all(packet.track_event.track_uuid in trace.tracks for packet in trace.events)


def test_arrows_lead_from_each_spawn_to_the_childs_slice(path: Path) -> None:
    trace = decoded(path)
    starts = {
        packet.track_event.flow_ids[0]: packet
        for packet in trace.of(TrackEvent.TYPE_INSTANT, "spawn")
    }
    ends = {
        packet.track_event.terminating_flow_ids[0]: packet
        for packet in trace.of(TrackEvent.TYPE_SLICE_BEGIN)
        if packet.track_event.terminating_flow_ids
    }
    assert starts.keys() == ends.keys()
    for arrow, start in starts.items():
        end = ends[arrow]
        assert start.timestamp == end.timestamp
        assert end.track_event.track_uuid == arrow
        parent = (start.track_event.track_uuid & ((1 << FLOW_BITS) - 1)) - 1
        assert trace.annotations(end)["parent"] == parent


def test_a_step_is_a_millisecond_and_events_are_at_its_end(path: Path) -> None:
    trace, columns = decoded(path), result().trace.columns
    ends = trace.of(TrackEvent.TYPE_INSTANT, "terminate")
    rows = columns["kind"] == 2
    assert [p.timestamp for p in ends] == ((columns["step"][rows] + 1) * STEP_NANOSECONDS).tolist()
    first = trace.annotations(ends[0])
    assert first["x"] == float(columns["x"][rows][0])
    assert first["reason"] == REASONS[columns["code"][rows][0]]
    assert first["seq"] == columns["seq"][rows][0]


def test_every_slice_that_ends_began_before(path: Path) -> None:
    trace = decoded(path)
    begun = {p.track_event.track_uuid: p for p in trace.of(TrackEvent.TYPE_SLICE_BEGIN)}
    for packet in trace.of(TrackEvent.TYPE_SLICE_END):
        begin = begun[packet.track_event.track_uuid]
        assert begin.timestamp < packet.timestamp
        annotations = trace.annotations(begin)
        assert annotations["birth_recorded"] is True
        assert (annotations["parent"] < 0) == (begin.timestamp == 0)


def test_counters_over_steps(path: Path) -> None:
    counters = (
        StepCounter("active flows", "count", {0: 96, 1: 80}),
        StepCounter("host memory", "bytes", {0: 10**9}),
    )
    trace = Decoded(b"".join(encode(read_batches([path]), lambda: counters)))
    found = [
        (p.track_event.track_uuid, p.timestamp, p.track_event.counter_value)
        for p in trace.of(TrackEvent.TYPE_COUNTER)
    ]
    assert found == [
        (1, STEP_NANOSECONDS, 96),
        (1, 2 * STEP_NANOSECONDS, 80),
        (2, STEP_NANOSECONDS, 10**9),
    ]
    assert trace.tracks[1].name == "active flows"


@pytest.mark.parametrize("kind", ["spawn", "reflect", "terminate"])
def test_filtered_traces_omit_other_records(path: Path, kind: str) -> None:
    keep = TraceFilter(kinds=frozenset({kind}), samples=frozenset({1, 4}))
    trace = Decoded(b"".join(encode(read_batches([path], keep))))
    totals = result().trace.counters.total[[1, 4]].sum(0).tolist()
    wanted = dict(zip(("spawn", "reflect", "terminate"), totals, strict=True))
    for name in ("spawn", "reflect", "terminate"):
        count = wanted[kind] if name == kind else 0
        assert len(trace.of(TrackEvent.TYPE_INSTANT, name)) == count
    for packet in trace.of(TrackEvent.TYPE_SLICE_BEGIN):
        annotations = trace.annotations(packet)
        # Births that are left out are not made up.
        assert annotations["birth_recorded"] is (annotations["parent"] < 0 or kind == "spawn")


def test_the_first_packet_clears_earlier_state(path: Path) -> None:
    first = decoded(path).packets[0]
    assert first.sequence_flags == TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    assert first.HasField("interned_data")
