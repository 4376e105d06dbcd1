"""Whether the checkpoint of a model on the disk is still the one that was stored."""

from __future__ import annotations

from pathlib import Path

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import CheckpointError
from energy_flow.simulation.checkpoint import identify
from service.models.model import Model
from service.problems import Problem, find_unusable_path
from service.store.names import DEFAULT
from service.store.verification.piece_digests import digest_pieces
from service.store.verification.verified_file import VerifiedFile

_RESTORE = "upload the original checkpoint again, or delete the model and create it again"
_REINSTALL = "install Energy Flow again, and restart the server"


def check_file(model: Model, path: Path) -> VerifiedFile:
    """Refuse a checkpoint on the disk that is not the one of a model.

    Args:
        model: The model.
        path: Its checkpoint.

    Returns:
        The file, of which no bytes are read any more that have changed since.

    Raises:
        Problem: 409, it has changed, or cannot be read; 503, without permission.
    """
    try:
        with path.open("rb", buffering=0) as file:
            pieces = digest_pieces(file)
        checked = VerifiedFile(path, pieces, _restore_hint(model), depth=2)
        with checked.open() as file:
            found = identify(file)
    except (CheckpointError, OSError) as error:
        raise make_unreadable_problem(model, error) from error
    check_unchanged(model, found["digest"], found["config"], trained=found["trained"])
    return checked


def check_unchanged(model: Model, digest: str, config: FlowConfig, *, trained: bool) -> None:
    """Refuse a checkpoint that is not the one of a model.

    Args:
        model: The model.
        digest: Digest of the weights of the checkpoint.
        config: Config of the checkpoint.
        trained: Whether the checkpoint is that of a trained model.

    Raises:
        Problem: 409, its weights, its config or its origin are others.
    """
    if (digest, config, trained) == (model.digest, model.config, model.trained):
        return
    raise Problem(
        409,
        f"the checkpoint of the model {model.name!r} has changed on the disk; "
        f"{_restore_hint(model)}",
        extra={"model": model.name, "digest": model.digest, "file_digest": digest},
    )


def make_unreadable_problem(model: Model, error: CheckpointError | OSError) -> Problem:
    """Return the 409 for a model whose checkpoint cannot be read, or 503 without permission.

    Args:
        model: The model.
        error: Why its checkpoint cannot be read.
    """
    unusable = find_unusable_path(error)
    if unusable is not None:
        return unusable
    faults = error.faults if isinstance(error, CheckpointError) else ()
    # The message of an OSError has the path of the file, which is of no use to a caller.
    match error:
        case CheckpointError():
            why = str(error)
        case FileNotFoundError():
            why = "the file does not exist"
        case _:
            why = error.strerror or type(error).__name__
    message = (
        f"the checkpoint of the model {model.name!r} cannot be read: {why}; {_restore_hint(model)}"
    )
    return Problem(409, message, faults=faults, extra={"model": model.name})


def _restore_hint(model: Model) -> str:
    """Return what to do if the checkpoint of a model was changed or removed on the disk."""
    if model.is_packaged:
        return _REINSTALL
    return "restore the file" if model.name == DEFAULT else _RESTORE
