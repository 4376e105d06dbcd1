"""``python -m tests.fuzz FORMAT``: a campaign of mutated files and bodies against a server."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import started_campaign
from tests.fuzz.formats import FORMATS, make_case


def main() -> int:
    """Run campaigns, and return 1 if something happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for each format (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the cases (default: 0)")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="send this case alone")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the body of --case")
    parsed = parser.parse_args()
    formats = parsed.formats or list(FORMATS)
    if unknown := sorted(set(formats) - set(FORMATS)):
        parser.error(f"there is no format {unknown[0]!r}; known are {', '.join(FORMATS)}")
    failed = False
    for name in formats:
        with (
            tempfile.TemporaryDirectory(prefix="energy-flow-fuzz-") as folder,
            started_campaign(Path(folder)) as campaign,
        ):
            if parsed.case is None:
                report = campaign.run(name, parsed.seed, seconds=parsed.seconds)
            else:
                report = campaign.run(name, parsed.seed, cases=1, first=parsed.case)
                if parsed.save is not None:
                    parsed.save.write_bytes(make_case(name, parsed.seed, parsed.case).body)
        sys.stdout.write("\n  ".join([f"{name}:", *report.lines()]) + "\n")
        failed = failed or bool(report.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
