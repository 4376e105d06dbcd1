"""All benchmarks by name, in the order in which they run."""

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
    _benchmark("trace", "what the event trace costs"),
    _benchmark("trace_formats", "a million records in each format: time, and a server's memory"),
    _benchmark("invariance", "what bitwise independence of the batch costs"),
    _benchmark("batch", "one batch of 64 against eight of 8"),
    _benchmark("growth", "time against lattice side, hidden size, batch and depth"),
    _benchmark("memory", "peak memory of a full pool against prediction; a long run's memory"),
    _benchmark("train", "a training step against a forward pass; its peak memory"),
    _benchmark("service", "a server's callers against calls in this process"),
    _benchmark("forms", "a simulation by the client, its arrays as bytes, against JSON"),
    _benchmark("open_inference", "64 × 768 by the Open Inference Protocol; a scrape of metrics"),
    _benchmark("litserve", "the same processor behind LitServe, as a peer", short=False),
    _benchmark("listing", "lists of ten thousand runs and experiments: filtered, in pages"),
    _benchmark("interrupted", "a sweep killed twenty times against one undisturbed", short=False),
    _benchmark("soak", "runs that are cancelled, hung up on and late: none lost or wrong"),
)


def chosen(names: list[str], *, long: bool) -> list[Benchmark]:
    """The benchmarks of these names; without names the short ones, or all if time is no matter.

    Raises:
        KeyError: naming one that does not exist.
    """
    if not names:
        return [one for one in BENCHMARKS if one.short or long]
    known = {one.name: one for one in BENCHMARKS}
    return [known[name] for name in names]
