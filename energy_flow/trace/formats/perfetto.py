"""Traces for ui.perfetto.dev and its trace processor (docs/trace_format.md, Perfetto).

Each sample is a process, each flow a track, the time from a flow's birth to its end a slice, each
event an instant on the track. An arrow leads from each spawn to the child's slice. Step t takes the
millisecond from t to t + 1, and its events are at the end of that millisecond.

A slice is written when its flow ends, its begin and its end together; readers sort by time. Memory
holds the flows of one sample that have not ended.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from google.protobuf.proto import serialize_length_prefixed

from energy_flow.trace.batches import FORMAT_VERSION, kind_codes, numbers
from energy_flow.trace.formats import StepCounter, StepCounters
from energy_flow.trace.records import (
    COLUMN_DTYPES,
    KINDS,
    PLANES,
    REASONS,
    REFLECT,
    SPAWN,
    TERMINATE,
    WALL_BITS,
)

STEP_NANOSECONDS: Final = 1_000_000
FLOW_BITS: Final = 40
"""The id of a flow's track is (sample + 1) · 2⁴⁰ + flow + 1, of a process (sample + 1) · 2⁴⁰."""

EVENT_NAMES: Final = (*KINDS, "flow")
_SLICE: Final = len(KINDS)
ALL: Final = ("seq", "x", "y", "z", "energy", "length")
ARGUMENTS: Final = (
    *ALL,
    *("child", "ordinal", "walls", "reason", "plane", "parent", "birth_recorded"),
)
_TEXTS: Final = (*REASONS, *PLANES, "none")
_SEQUENCE: Final = 1
_PIECE_BYTES: Final = 2**18
_PACKET_TAG: Final = b"\x0a"
"""Stands before each packet: field 1 of the message ``Trace``, with a length."""


def encode(batches: Iterable[pa.RecordBatch], counters: StepCounters = tuple) -> Iterator[bytes]:
    """Yield the bytes of a Perfetto trace.

    Args:
        batches: records sorted by (sample, seq).
        counters: read before the records; each becomes a track.
    """
    writer = _Writer()
    writer.begin()
    for number, counter in enumerate(counters()):
        writer.counter(number + 1, counter)
    for batch in batches:
        columns = [
            kind_codes(batch).tolist() if name == "kind" else numbers(batch, name).tolist()
            for name in COLUMN_DTYPES
        ]
        for row in zip(*columns, strict=True):
            writer.record(*row)
            if writer.size >= _PIECE_BYTES:
                yield writer.take()
    writer.end_sample()
    yield writer.take()


class _Event:
    """A packet with an event that is written many times, with other values."""

    __slots__ = ("arguments", "event", "packet")

    def __init__(self, packet: Any) -> None:
        self.packet = packet
        self.event: Any = packet.track_event
        self.arguments: list[Any] = list(self.event.debug_annotations)


class _Writer:
    """Writes the packets of one trace; what many packets share is set once."""

    def __init__(self) -> None:
        # The schema is large and slow to import.
        from perfetto.protos.perfetto.trace import (  # type: ignore[import-untyped]
            perfetto_trace_pb2 as proto,
        )

        self._proto: Any = proto
        self._written = io.BytesIO()
        self._sample: int | None = None
        self._base = 0
        # Flow -> (its birth in nanoseconds, whether that was recorded, parent).
        self._alive: dict[int, tuple[int, bool, int]] = {}
        self._tracks: set[int] = set()
        event = proto.TrackEvent
        self._spawn = self._event(event.TYPE_INSTANT, SPAWN, (*ALL, "child", "ordinal"))
        self._reflect = self._event(event.TYPE_INSTANT, REFLECT, (*ALL, "walls"))
        self._terminate = self._event(event.TYPE_INSTANT, TERMINATE, (*ALL, "reason", "plane"))
        self._begin = self._event(event.TYPE_SLICE_BEGIN, _SLICE, ("parent", "birth_recorded"))
        self._end = self._event(event.TYPE_SLICE_END, None, ())
        self._track: Any = proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        self._descriptor: Any = self._track.track_descriptor

    @property
    def size(self) -> int:
        """Return how many bytes were written since the last call of :meth:`take`."""
        return self._written.tell()

    def take(self) -> bytes:
        """Return what was written since the last call; such parts joined are one trace."""
        data = self._written.getvalue()
        self._written = io.BytesIO()
        return data

    def begin(self) -> None:
        """Write the names to which later packets refer by number."""
        packet = self._proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        packet.sequence_flags = self._proto.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        packet.first_packet_on_sequence = True
        interned = packet.interned_data
        for number, name in enumerate(EVENT_NAMES):
            interned.event_names.add(iid=number + 1, name=name)
        for number, name in enumerate(ARGUMENTS):
            interned.debug_annotation_names.add(iid=number + 1, name=name)
        for number, text in enumerate(_TEXTS):
            interned.debug_annotation_string_values.add(iid=number + 1, str=text.encode())
        self._put(packet)

    def counter(self, uuid: int, counter: StepCounter) -> None:
        """Write a track with a number for each step."""
        proto = self._proto
        packet = proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        track = packet.track_descriptor
        track.uuid, track.name = uuid, counter.name
        units = {"count": "UNIT_COUNT", "bytes": "UNIT_SIZE_BYTES"}
        track.counter.unit = proto.CounterDescriptor.Unit.Value(units[counter.unit])
        self._put(packet)
        packet = proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        packet.track_event.type = proto.TrackEvent.TYPE_COUNTER
        packet.track_event.track_uuid = uuid
        for step, value in sorted(counter.values.items()):
            packet.timestamp = (step + 1) * STEP_NANOSECONDS
            packet.track_event.counter_value = value
            self._put(packet)

    def record(
        self,
        seq: int,
        step: int,
        kind: int,
        sample: int,
        flow: int,
        parent: int,
        code: int,
        plane: int,
        *reals: float,
    ) -> None:
        """Write one record: its columns in order; ``reals`` are position, energy and length."""
        if sample != self._sample:
            self.end_sample()
            self._begin_sample(sample)
        now = (step + 1) * STEP_NANOSECONDS
        if kind == SPAWN:
            self._alive[flow] = (now, True, parent)
            self._add_track(parent)
            arguments = self._instant(self._spawn, now, parent, seq, reals)
            arguments[6].int_value = flow
            arguments[7].int_value = code
            self._spawn.event.flow_ids[0] = self._base + flow + 1
            self._put(self._spawn.packet)
            return
        if flow not in self._alive:
            # Initial flows begin at 0. The birth of others was lost, or a filter left it out.
            self._alive[flow] = (0 if parent < 0 else now, parent < 0, parent)
        self._add_track(flow)
        if kind == REFLECT:
            arguments = self._instant(self._reflect, now, flow, seq, reals)
            arguments[6].string_value = _walls(code)
            self._put(self._reflect.packet)
            return
        arguments = self._instant(self._terminate, now, flow, seq, reals)
        arguments[6].string_value_iid = code + 1
        arguments[7].string_value_iid = len(REASONS) + (plane if plane >= 0 else 2) + 1
        self._slice(flow, *self._alive.pop(flow))
        self._put(self._terminate.packet)
        self._end.packet.timestamp = now
        self._end.event.track_uuid = self._base + flow + 1
        self._put(self._end.packet)

    def end_sample(self) -> None:
        """Write the slices of flows whose end is not among the records; they stay open."""
        for flow, birth in self._alive.items():
            self._add_track(flow)
            self._slice(flow, *birth)
        self._alive.clear()
        self._tracks.clear()

    def _begin_sample(self, sample: int) -> None:
        self._sample, self._base = sample, (sample + 1) << FLOW_BITS
        packet = self._proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        track = packet.track_descriptor
        track.uuid = self._base
        track.process.pid = sample + 1
        track.process.process_name = f"sample {sample}"
        track.process.process_labels.append(f"energy_flow trace format {FORMAT_VERSION}")
        track.child_ordering = self._proto.TrackDescriptor.EXPLICIT
        self._put(packet)

    def _add_track(self, flow: int) -> None:
        """Write the flow's track, unless that was done."""
        if flow in self._tracks:
            return
        self._tracks.add(flow)
        track = self._descriptor
        track.uuid, track.parent_uuid = self._base + flow + 1, self._base
        track.name = f"flow {flow}"
        track.sibling_order_rank = min(flow, 2**31 - 1)
        self._put(self._track)

    def _slice(self, flow: int, begin: int, recorded: bool, parent: int) -> None:
        event, arguments = self._begin.event, self._begin.arguments
        self._begin.packet.timestamp = begin
        event.track_uuid = self._base + flow + 1
        arguments[0].int_value = parent
        arguments[1].bool_value = recorded
        del event.terminating_flow_ids[:]
        if begin and recorded:
            event.terminating_flow_ids.append(self._base + flow + 1)
        self._put(self._begin.packet)

    def _instant(
        self, kind: _Event, now: int, flow: int, seq: int, reals: tuple[float, ...]
    ) -> list[Any]:
        kind.packet.timestamp = now
        kind.event.track_uuid = self._base + flow + 1
        arguments = kind.arguments
        arguments[0].int_value = seq
        for argument, value in zip(arguments[1:6], reals, strict=True):
            argument.double_value = value
        return arguments

    def _event(self, kind: int, name: int | None, arguments: Sequence[str]) -> _Event:
        packet = self._proto.TracePacket(trusted_packet_sequence_id=_SEQUENCE)
        packet.sequence_flags = self._proto.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        event = packet.track_event
        event.type = kind
        if name is not None:
            event.name_iid = name + 1
        for argument in arguments:
            event.debug_annotations.add(name_iid=ARGUMENTS.index(argument) + 1)
        if name == SPAWN:
            event.flow_ids.append(0)
        return _Event(packet)

    def _put(self, packet: Any) -> None:
        self._written.write(_PACKET_TAG)
        serialize_length_prefixed(packet, self._written)


def _walls(bits: int) -> str:
    return ",".join(name for name, bit in WALL_BITS.items() if bits & bit)
