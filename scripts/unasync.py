"""Generate the blocking client from the asynchronous one, or check that it was generated.

``energy_flow/client/_async`` is written by hand. Each of its files becomes a file of the same name
in ``_sync``: ``async`` and ``await`` are removed, names that begin with ``Async`` lose it, and the
words of :data:`WORDS` are replaced. Ruff then sorts the imports, turns loops that only yield into
``yield from``, and formats the result.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("energy_flow/client/_async")
TARGET = Path("energy_flow/client/_sync")

WORDS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__anext__": "__next__",
    "_async": "_sync",
    "aclose": "close",
    "anext": "next",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "asynchronous": "blocking",
    "asyncio": "time",
    "encode_texts_async": "encode_texts",
    "read_file_async": "read_file",
}

_REMOVED = re.compile(r"\basync (?=(?:def|for|with)\b)|\bawait |\bAsync(?=[A-Z])")
_WORD = re.compile(r"\w+")


def to_blocking(source: str) -> str:
    """Return the blocking form of asynchronous code, not yet formatted."""
    return _WORD.sub(lambda word: WORDS.get(word[0], word[0]), _REMOVED.sub("", source))


def generate(path: Path) -> str:
    """Return what ``_sync`` holds for one file of ``_async``.

    Args:
        path: the file, below :data:`ROOT`.

    Raises:
        subprocess.CalledProcessError: the file is no valid Python.
    """
    header = (
        f"# Generated from {SOURCE.as_posix()}/{path.name} by scripts/unasync.py; edit that file.\n"
    )
    code = header + to_blocking(path.read_text())
    name = str(ROOT / TARGET / path.name)
    for command in (
        ("check", "--quiet", "--fix-only", "--unsafe-fixes", "--select", "I,UP028"),
        ("format", "--quiet"),
    ):
        code = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"],
            input=code,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
    return code


def main() -> int:
    """Write the files, or with ``--check`` compare them.

    Returns:
        The exit status: 1 where ``--check`` found a difference.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file differs"
    )
    check = parser.parse_args().check
    target = ROOT / TARGET
    generated = {path.name: generate(path) for path in sorted((ROOT / SOURCE).glob("*.py"))}
    existing = {path.name: path.read_text() for path in target.glob("*.py")}
    differing = [name for name, code in generated.items() if existing.get(name) != code]
    stale = sorted(existing.keys() - generated.keys())
    if check:
        for name in differing:
            print(f"{TARGET / name} differs from what {SOURCE / name} generates; run make client")
        for name in stale:
            print(f"{TARGET / name} has no source in {SOURCE}; run make client")
        return 1 if differing or stale else 0
    target.mkdir(exist_ok=True)
    for name in differing:
        (target / name).write_text(generated[name])
    for name in stale:
        (target / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
