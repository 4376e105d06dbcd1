"""A replay of a sample, in a few lines or as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from service.cli.input.terminal import count_things, properties_table

if TYPE_CHECKING:
    from rich.table import Table

    from energy_flow.client import Replay


def replay_to_dict(replay: Replay) -> dict[str, Any]:
    """Return a replay as plain JSON data, with lists for columns."""
    data = asdict(replay)
    for name in ("flows", "path"):
        data[name] = {column: values.tolist() for column, values in data[name].items()}
    return data


def replay_table(replay: Replay) -> Table:
    """Return what a replay has, and whether it equals the run."""
    flows, steps = replay.flows, replay.path["step"]
    reasons = Counter(str(reason) for reason in flows["reason"] if reason is not None)
    children = int((flows["parent"] >= 0).sum())
    of = "" if replay.flow is None else f", flow {replay.flow} with its ancestors and descendants"
    rows = [
        ("run", replay.run_id),
        ("sample", f"{replay.sample}{of}"),
        ("agrees", "yes, record for record" if replay.agrees else _describe_difference(replay)),
        ("flows", f"{len(flows['flow']):,}, {children:,} of them spawned"),
        ("ends", ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none"),
        ("path", count_things(len(steps), "place")),
    ]
    return properties_table(rows)


def _describe_difference(replay: Replay) -> str:
    if replay.note is not None:
        return f"no; {replay.note}"
    first = "" if replay.difference is None else f"; first at record {replay.difference.seq}"
    return f"no{first}"
