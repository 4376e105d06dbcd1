"""What an ablation in this process needs, read and checked without torch."""

from __future__ import annotations

from pathlib import Path

from energy_flow.errors import ConfigError, DataError
from energy_flow.training.data import Pairs
from service.cli.execute.ablation_job import AblationJob
from service.cli.execute.local_model import read_model_config
from service.cli.execute.model_file import Checkpoint, find_checkpoint
from service.cli.execute.option_faults import refuse_config
from service.cli.execute.pairs_file import PairsOptions, read_pairs
from service.cli.input.failures import CommandFailed, require_file
from service.cli.input.regular_file import is_stream


def prepare_ablation(job: AblationJob, options: PairsOptions) -> tuple[Checkpoint, Pairs]:
    """Check the model and the options of an ablation, and read its rows.

    Args:
        job: what to measure.
        options: how the file is read.

    Raises:
        CommandFailed: the ablation is refused.
    """
    model, data = find_checkpoint(job.model, "MODEL"), Path(job.data)
    if not is_stream(data):
        require_file(data)
    try:
        read_model_config(model).with_options(job.fields)
        return model, read_pairs(data, job.rows, options)
    except DataError as error:
        raise CommandFailed(f"{data}: {error}") from None
    except ConfigError as error:
        raise refuse_config(error.faults) from error
