"""The check of a data directory; a server may use it meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import CheckpointError, ConfigError
from energy_flow.simulation.checkpoint import identify
from service.problems import DamagedFile, Problem, UnusablePath, find_unusable_path
from service.store.archive import RunArchive
from service.store.catalog import RunCatalog
from service.store.data_check.findings import INDEX_ADVICE, Finding, Report
from service.store.database import Database
from service.store.datasets import DatasetRegistry
from service.store.index_file import find_index_file, is_missing
from service.store.tables import DatasetContentRow, ModelRow, RunRow
from service.store.verification.verified_file import VerifiedFile

OnProgress = Callable[[int, int], object]
"""Called with the bytes that were read and those of everything."""

MODEL_ADVICE = "upload the original checkpoint again, or delete the model"

MAX_LINES = 10
"""Lines of SQLite's own check that are reported."""


class OutdatedIndexError(RuntimeError):
    """The index was written by an earlier version of the program."""


def check_data(data_dir: Path, index_url: URL | str, on_progress: OnProgress) -> Report:
    """Read everything that a data directory has, and compare it with its digests.

    Nothing is changed.

    Args:
        data_dir: The data directory.
        index_url: URL of its index, as SQLAlchemy takes it.
        on_progress: Is called after each file.

    Returns:
        What was read and what is damaged.

    Raises:
        OutdatedIndexError: The index was written by an earlier version of the program.
        NewerIndexError: The index was written by a newer version.
    """
    report = Report()
    url = make_url(index_url)
    path = find_index_file(url)
    name = "index" if path is None else path.name
    try:
        if is_missing(url):
            report.findings.append(Finding(name, "it does not exist", INDEX_ADVICE))
            return report
        with closing(Database(url, is_changing=False)) as database:
            if not database.is_current:
                raise OutdatedIndexError(
                    f"the index {name} was written by an earlier version of Energy Flow; start the "
                    "server of this version once, which migrates it"
                )
            check = _Check(data_dir, database, name, report, on_progress)
            check.check_index()
            check.check_datasets()
            check.check_models()
            check.check_runs()
    except (SQLAlchemyError, OSError, Problem) as error:
        unusable = find_unusable_path(error)
        if unusable is not None:
            report.add(unusable)
        elif isinstance(error, OSError):
            raise
        else:
            why = str(getattr(error, "orig", None) or error)
            report.findings.append(Finding(name, why, INDEX_ADVICE))
    return report


class _Check:
    """One check of one data directory."""

    def __init__(
        self,
        data_dir: Path,
        database: Database,
        index: str,
        report: Report,
        on_progress: OnProgress,
    ) -> None:
        self._database = database
        self._index = index
        self._report = report
        self._on_progress = on_progress
        self._models = data_dir / "models"
        self._datasets = DatasetRegistry(database, data_dir / "datasets", 0)
        self._archive = RunArchive(RunCatalog(database), self._datasets, data_dir / "runs", 0)
        self._total = 0

    def check_index(self) -> None:
        """Check the index itself, as far as its database can do that."""
        with self._database.session() as session:
            for column in (DatasetContentRow.bytes, ModelRow.bytes, RunRow.bytes):
                self._total += int(session.scalar(select(func.coalesce(func.sum(column), 0))) or 0)
            if session.get_bind().dialect.name != "sqlite":
                return
            lines = list(session.scalars(text(f"PRAGMA integrity_check({MAX_LINES})")))
        for line in lines:
            if line != "ok":
                self._add(Finding(self._index, " ".join(line.split()), INDEX_ADVICE))

    def check_datasets(self) -> None:
        """Compare the file of each dataset with its digest."""
        with self._database.session() as session:
            contents = dict(
                session.execute(select(DatasetContentRow.digest, DatasetContentRow.bytes)).all()
            )
        for digest, size in contents.items():
            try:
                pieces = self._datasets.digests.check_whole(digest)
                known = self._datasets.digests.find(digest)
                if known is not None and known != pieces:
                    why = f"the digests of the pieces of dataset {digest} have changed"
                    self._add(Finding(self._index, why, INDEX_ADVICE))
            except (DamagedFile, UnusablePath) as problem:
                if self._datasets.has(digest):
                    self._report.add(problem)
            self._report.datasets += 1
            self._advance(size)

    def check_models(self) -> None:
        """Compare each checkpoint with the digest of its weights, its config and its origin."""
        with self._database.session() as session:
            names = dict(session.execute(select(ModelRow.name, ModelRow.bytes)).all())
        for name, size in names.items():
            problem = self._check_model(name)
            if problem is not None and self._find_model(name) is not None:
                self._report.add(problem)
            self._report.models += 1
            self._advance(size)

    def check_runs(self) -> None:
        """Compare the files of each run with their digests."""
        for run_id in sorted(self._archive.catalog.list_ids()):
            size = 0
            try:
                row = self._archive.catalog.get(run_id)
                if row is None:
                    continue
                size = row.bytes
                self._check_run(row)
            except UnusablePath as problem:
                self._report.add(problem)
            except Problem as problem:
                why = f"run {run_id}: {problem.detail}"
                self._add(Finding(self._index, why, INDEX_ADVICE))
            self._report.runs += 1
            self._advance(size)

    def _check_model(self, name: str) -> DamagedFile | UnusablePath | None:
        path = self._models / f"{name}.safetensors"
        file = VerifiedFile(path, None, MODEL_ADVICE, depth=2)
        row = self._find_model(name)
        if row is None:
            return None
        try:
            with file.explaining():
                found = identify(path)
        except (DamagedFile, UnusablePath) as problem:
            return problem
        except CheckpointError as error:
            return file.damage(str(error))
        try:
            config = FlowConfig.from_dict(row.config)
        except ConfigError as error:
            return DamagedFile(self._index, f"the config of model {name}: {error}", INDEX_ADVICE)
        if (found["digest"], found["config"], found["trained"]) == (
            row.digest,
            config,
            row.trained,
        ):
            return None
        why = f"its weights have the digest {found['digest']} instead of {row.digest}"
        if found["digest"] == row.digest:
            why = "its config has changed"
        return file.damage(why)

    def _find_model(self, name: str) -> ModelRow | None:
        with self._database.session() as session:
            return session.scalars(select(ModelRow).where(ModelRow.name == name)).one_or_none()

    def _check_run(self, row: RunRow) -> None:
        run = self._archive.open(row)
        if run.list_files() and not run.has_digests:
            self._report.runs_without_digests += 1
        problems = list(run.find_damages())
        now = self._archive.catalog.get(row.run_id) if problems else None
        if now is not None and now.is_complete != row.is_complete:
            # It has ended meanwhile, and has other files.
            problems = list(self._archive.open(now).find_damages())
        for problem in problems if now is not None else ():
            self._report.add(problem)

    def _add(self, finding: Finding) -> None:
        self._report.findings.append(finding)

    def _advance(self, size: int) -> None:
        self._report.bytes += size
        self._on_progress(self._report.bytes, max(self._total, self._report.bytes))
