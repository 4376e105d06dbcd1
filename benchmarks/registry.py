"""The list of benchmarks, in the order in which they run. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from benchmarks.options import Benchmark, Findings, Options


def _benchmark(name: str, about: str, *, short: bool = True) -> Benchmark:
    def load() -> Callable[[Options], Findings]:
        measure: Callable[[Options], Findings] = import_module(f"benchmarks.{name}").measure
        return measure

    return Benchmark(name, about, short, load)


BENCHMARKS: tuple[Benchmark, ...] = (
    _benchmark("step", "flow-steps a second against a bare GRU and its matrix products"),
    _benchmark("trace", "time of a simulation with a trace against without"),
    _benchmark("trace_formats", "a million records in each format: time, and memory of a server"),
    _benchmark("invariance", "time of a simulation with batch_invariant against without"),
    _benchmark("tally", "time of a simulation by aggregation mode"),
    _benchmark("batch", "time of one batch of 64 against eight batches of 8"),
    _benchmark("growth", "time by lattice side, hidden size, batch and depth"),
    _benchmark("memory", "peak memory of a full pool against prediction; memory of a long run"),
    _benchmark("train", "time of a training step against a forward pass; its peak memory"),
    _benchmark("service", "calls of a server against calls in this process"),
    _benchmark("forms", "time of a simulation by the client, arrays as bytes against JSON"),
    _benchmark("open_inference", "64 × 768 by the Open Inference Protocol; a scrape of metrics"),
    _benchmark("probes", "how long a server answers no others, by shape of a request", short=False),
    _benchmark("contended", "a simulation beside busy processes and in a quota", short=False),
    _benchmark("litserve", "a server against the same processor behind LitServe", short=False),
    _benchmark("listing", "time to list ten thousand runs and experiments, filtered, in pages"),
    _benchmark(
        "interrupted", "a sweep whose server is killed against one undisturbed", short=False
    ),
    _benchmark(
        "failover", "a sweep whose active server is killed beside standby ones", short=False
    ),
    _benchmark("listing_postgres", "lists with an index in PostgreSQL", short=False),
    _benchmark("kills", "a server under work that is killed: nothing is lost", short=False),
    _benchmark("flood", "steady clients of a server beside hundreds of others", short=False),
    _benchmark("bodies", "large bodies sent at once to a server in a small group", short=False),
    _benchmark("soak", "a thousand runs, most of them disturbed: none lost, none wrong"),
)


def select(names: list[str], *, long: bool) -> list[Benchmark]:
    """Return benchmarks by name; without names the short ones, or all.

    Args:
        names: names of benchmarks.
        long: whether to return all if there are no names.

    Raises:
        KeyError: with a name that does not exist.
    """
    if not names:
        return [one for one in BENCHMARKS if one.short or long]
    known = {one.name: one for one in BENCHMARKS}
    return [known[name] for name in names]
