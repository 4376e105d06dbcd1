"""The event log: bounded, resumable, and never in a writer's way."""

from __future__ import annotations

import asyncio
import threading

import orjson

from service.events import Event, EventLog


async def collect(log: EventLog, after: int) -> list[Event]:
    return [event async for events in log.follow(after, 1.0) for event in events]


def test_a_reader_from_the_start_gets_everything_in_order() -> None:
    async def scene() -> list[Event]:
        log = EventLog(asyncio.get_running_loop(), capacity=1000)
        reading = asyncio.create_task(collect(log, 0))

        def write() -> None:
            for number in range(500):
                log.append("step", {"number": number})
            log.close()

        writer = threading.Thread(target=write)
        writer.start()
        events = await reading
        writer.join()
        return events

    events = asyncio.run(scene())
    assert [event.id for event in events] == list(range(1, 501))
    assert [event.payload for event in events] == [{"number": number} for number in range(500)]


def test_a_slow_reader_finds_a_gap_in_place_of_what_it_missed() -> None:
    async def scene() -> list[Event]:
        log = EventLog(asyncio.get_running_loop(), capacity=10)
        for number in range(100):
            log.append("step", {"number": number})
        log.close()
        return await collect(log, 3)

    events = asyncio.run(scene())
    assert events[0].name == "gap"
    assert events[0].payload == {"from": 4, "to": 90, "missed": 87}
    assert [event.id for event in events] == list(range(90, 101))


def test_resuming_continues_after_the_last_event_even_after_a_gap() -> None:
    async def scene() -> None:
        log = EventLog(asyncio.get_running_loop(), capacity=10)
        for number in range(100):
            log.append("step", {"number": number})
        gap = log.after(0)[0][0]
        assert (gap.name, gap.id) == ("gap", 90)
        events, more = log.after(gap.id)
        assert [event.id for event in events] == list(range(91, 101))
        assert more
        assert log.after(100) == ([], True)
        # An id from before a restart, beyond this log.
        assert log.after(5000)[0] == log.after(0)[0]

    asyncio.run(scene())


def test_an_idle_reader_hears_that_nothing_came() -> None:
    async def scene() -> None:
        log = EventLog(asyncio.get_running_loop())
        stream = log.follow(0, 0.01)
        assert await anext(stream) == []
        log.append("state", {"state": "queued"})
        assert [event.name for event in await anext(stream)] == ["state"]
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())


def test_a_writer_outlives_the_loop() -> None:
    async def make() -> EventLog:
        log = EventLog(asyncio.get_running_loop())
        log._waiting.add(asyncio.Event())
        return log

    log = asyncio.run(make())
    log.append("state", {"state": "failed"})
    log.close()
    assert log.last_id == 1


def test_an_event_as_the_standard_has_it() -> None:
    event = Event(7, "step", lambda: {"text": "two\nlines"})
    name, data = b"id: 7\nevent: step\ndata: ", b"\n\n"
    told = event.to_bytes()
    assert told.startswith(name)
    assert told.endswith(data)
    assert orjson.loads(told[len(name) : -2]) == {"text": "two\nlines"}
