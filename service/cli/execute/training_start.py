"""What a training in this process starts from, read and checked without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energy_flow.errors import ConfigError, EnergyFlowError
from energy_flow.training import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.training_files import check_unused, require_data
from service.cli.execute.embeddings_file import RowRange
from service.cli.execute.pairs_file import PairsOptions, read_pairs
from service.cli.input.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed


@dataclass(frozen=True, slots=True)
class TrainingStart:
    """A training that can start, as far as that is known without torch.

    Attributes:
        config: its config.
        changes: values of fields that options gave, by dotted name.
        folder: for the model, checkpoints, log and curves.
        resume: whether to continue from the last checkpoint in the folder.
    """

    config: TrainConfig
    changes: Mapping[str, Any]
    folder: Path
    resume: bool
    _held: dict[tuple[str, tuple[int, int] | None], Pairs] = field(default_factory=dict)

    def pairs(self, path: str, rows: tuple[int, int] | None) -> Pairs:
        """Return the pairs of a file.

        Args:
            path: of the file, as the config names it.
            rows: the first row, and the one after the last; all rows if none.
        """
        return self._held[path, rows]

    def refuse(self, error: EnergyFlowError) -> CommandFailed:
        """Return the failure of the command."""
        return _refuse(error, self.changes)

    def read(self, options: PairsOptions) -> None:
        """Read the pairs of all files of the config.

        Raises:
            ConfigError: the config names no file to train on.
            DataError: the pairs cannot be used.
            CommandFailed: a file cannot be read.
        """
        data = self.config.data
        for path, rows in ((require_data(self.config), data.rows), (data.val, None)):
            if path is not None and (path, rows) not in self._held:
                chosen = RowRange() if rows is None else RowRange(*rows)
                self._held[path, rows] = read_pairs(Path(path), chosen, options)


def prepare_training(
    fields: Mapping[str, Any],
    changes: Mapping[str, Any],
    folder: Path,
    *,
    options: PairsOptions,
    resume: bool,
) -> TrainingStart:
    """Check a config and its folder, and read its pairs.

    Args:
        fields: of the config, as in its file.
        changes: other values of fields, by dotted name.
        folder: for the model, checkpoints, log and curves.
        options: how the files are read.
        resume: whether to continue from the last checkpoint in the folder.

    Raises:
        CommandFailed: the training is refused.
    """
    if folder.exists() and not folder.is_dir():
        raise CommandFailed(f"{folder} is a file, not a folder; choose another --out")
    try:
        start = TrainingStart(TrainConfig.from_dict(fields, changes), changes, folder, resume)
        require_data(start.config)
        if not resume:
            check_unused(folder)
        start.read(options)
    except EnergyFlowError as error:
        raise _refuse(error, changes) from error
    return start


def _refuse(error: EnergyFlowError, changes: Mapping[str, Any]) -> CommandFailed:
    if not isinstance(error, ConfigError):
        return CommandFailed(str(error))
    # Other faults are those of the file.
    chosen = {*changes, "device"}
    is_usage = all(".".join(map(str, fault.loc)) in chosen for fault in error.faults)
    return CommandFailed(str(error), EXIT_USAGE if is_usage else EXIT_FAILED)
