"""Which model a simulation in this process uses, chosen and checked without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from energy_flow import pretrained
from energy_flow.choices import Preset
from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.config.presets import preset as preset_config
from energy_flow.errors import CheckpointError, ConfigError, Fault
from energy_flow.simulation.checkpoint_metadata import read_config
from energy_flow.simulation.inputs import describe_seed_fault
from service.cli.execute.job import FileJob
from service.cli.execute.model_file import Checkpoint
from service.cli.execute.option_faults import refuse_config, refuse_request
from service.cli.input.failures import CommandFailed
from service.cli.input.streams import printable
from service.cli.input.terminal import print_note


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of this process, and the config of a run of it.

    Attributes:
        name: as it was given.
        path: file of its checkpoint; ``None`` for an untrained model.
        config: of the run.
    """

    name: str
    path: Path | None
    config: FlowConfig


def choose_model(job: FileJob, preset: str | None, checkpoint: Checkpoint | None) -> LocalModel:
    """Return the model for the samples of a job.

    Args:
        job: what to simulate.
        preset: config of an untrained model.
        checkpoint: file of a model; without both, the default model, or an untrained one of
            ``debug`` for other rows and for options that set fields of the model.

    Raises:
        CommandFailed: an option, the seed, the width of the rows or the checkpoint is refused.
    """
    if checkpoint is None and preset is None:
        checkpoint = _find_default(job)
    try:
        config = _find_config(job, preset, checkpoint)
    except ConfigError as error:
        raise refuse_config(error.faults) from error
    fault = describe_seed_fault(job.seed, config)
    if fault is not None:
        raise refuse_request([Fault(("seed",), fault, job.seed)])
    if checkpoint is None:
        return LocalModel(preset or Preset.DEBUG.value, None, config)
    return LocalModel(checkpoint.name, checkpoint.path, config)


def _find_default(job: FileJob) -> Checkpoint | None:
    """Return the default model, if it takes the rows and no option is one of another model."""
    if _sets_model(job):
        return None
    width = _read_dimension(pretrained.DEFAULT)
    if width == _dimension(job):
        return Checkpoint(pretrained.DEFAULT, pretrained.find(pretrained.DEFAULT).checkpoint)
    if _dimension(job) == preset_config(Preset.DEBUG).embedding_dim:
        print_note(
            f"note: an untrained model of the preset {Preset.DEBUG} is used, because the rows have "
            f"{_dimension(job)} numbers; the default model {pretrained.DEFAULT}, as of a new "
            f"server, takes {width}"
        )
    return None


def _sets_model(job: FileJob) -> bool:
    return any(name.partition(".")[0] in MODEL_FIELDS for name in job.fields)


def _find_config(job: FileJob, preset: str | None, checkpoint: Checkpoint | None) -> FlowConfig:
    if checkpoint is not None:
        config = read_model_config(checkpoint)
        if _dimension(job) != config.embedding_dim:
            raise _refuse_dimension(job, f"model {checkpoint.name}", config.embedding_dim)
        return config.with_options(job.fields)
    config = preset_config(preset or Preset.DEBUG).replace(job.fields)
    if _dimension(job) != config.embedding_dim:
        if preset is None and not _sets_model(job):
            name = pretrained.DEFAULT
            raise _refuse_dimension(job, f"default model {name}", _read_dimension(name))
        raise _refuse_dimension(job, f"preset {preset or Preset.DEBUG}", config.embedding_dim)
    return config


def read_model_config(checkpoint: Checkpoint) -> FlowConfig:
    """Return the config of a model.

    Raises:
        CommandFailed: its file is not a checkpoint.
    """
    try:
        return read_config(checkpoint.path)
    except CheckpointError as error:
        raise CommandFailed(f"{checkpoint.path}: {error}") from None


def _dimension(job: FileJob) -> int:
    return int(job.embeddings.shape[1])


def _read_dimension(name: str) -> int:
    """Return the numbers of a row that a model of the package takes."""
    return read_config(pretrained.find(name).checkpoint).embedding_dim


def _refuse_dimension(job: FileJob, what: str, expected: int) -> CommandFailed:
    given = _dimension(job)
    fitting = [f"--model {name}" for name in pretrained.names() if _read_dimension(name) == given]
    remedies = [*fitting, f"--set embedding_dim={given} for untrained weights"]
    return CommandFailed(
        f"the rows have {given} numbers, and the {printable(what)} takes {expected}; use "
        f"{' or '.join(remedies)}"
    )
