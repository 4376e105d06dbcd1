"""The event log: bounded, resumable, and without waits for writers."""

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


def test_a_slow_reader_receives_a_gap_in_place_of_missed_events() -> None:
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


def test_an_idle_reader_receives_an_empty_list() -> None:
    async def scene() -> None:
        log = EventLog(asyncio.get_running_loop())
        stream = log.follow(0, 0.01)
        assert await anext(stream) == []
        log.append("state", {"state": "queued"})
        assert [event.name for event in await anext(stream)] == ["state"]
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())


def test_events_are_accepted_after_the_loop_is_closed() -> None:
    loop = asyncio.new_event_loop()
    log = EventLog(loop)
    reader = loop.create_task(collect(log, 0))
    # The reader waits for the first event when the loop stops.
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    log.append("state", {"state": "failed"})
    log.close()
    assert log.last_id == 1
    assert not reader.done()


def test_an_event_has_the_form_of_the_standard() -> None:
    event = Event(7, "step", lambda: {"text": "two\nlines"})
    name, data = b"id: 7\nevent: step\ndata: ", b"\n\n"
    reported = event.to_bytes()
    assert reported.startswith(name)
    assert reported.endswith(data)
    assert orjson.loads(reported[len(name) : -2]) == {"text": "two\nlines"}
