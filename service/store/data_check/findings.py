"""What a check of a data directory finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.problems import DamagedFile, UnusablePath

INDEX_ADVICE = (
    "restore it from a backup, or make a new one from the files with: "
    "energy-flow data rebuild-index"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is damaged or cannot be read.

    Attributes:
        file: Path of the file in the data directory, the index, or any path that cannot be used.
        why: What is wrong with it.
        advice: What to do.
    """

    file: str
    why: str
    advice: str

    @classmethod
    def of(cls, problem: DamagedFile | UnusablePath) -> Finding:
        """Return the finding for a refusal."""
        file = problem.file if isinstance(problem, DamagedFile) else str(problem.path)
        return cls(file, problem.why, problem.advice)


@dataclass(slots=True)
class Report:
    """The result of a check.

    Attributes:
        findings: What is damaged.
        unreadable: What the system does not let the process read.
        datasets: Files of datasets that were read.
        models: Checkpoints that were read.
        runs: Runs whose files were read.
        runs_without_digests: Those of them that an earlier version has stored, or that were in
            an index that was rebuilt. Only damage that makes a file unreadable is found there.
        bytes: Bytes of everything that was read.
    """

    findings: list[Finding] = field(default_factory=list)
    unreadable: list[Finding] = field(default_factory=list)
    datasets: int = 0
    models: int = 0
    runs: int = 0
    runs_without_digests: int = 0
    bytes: int = 0

    def add(self, problem: DamagedFile | UnusablePath) -> None:
        """Add the finding for a refusal; of a folder that cannot be used, one is enough."""
        finding = Finding.of(problem)
        found = self.findings if isinstance(problem, DamagedFile) else self.unreadable
        if finding not in found:
            found.append(finding)
