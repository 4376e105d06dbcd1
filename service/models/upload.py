"""The upload of a checkpoint, from its first byte to its name."""

from __future__ import annotations

from energy_flow.runtime.safetensors_header import SafetensorsHeader
from service.models.model import Model, check_name
from service.models.registry import ModelRegistry
from service.safetensors_header import ended_in_header, parse_header, wrong_length


class ModelUpload:
    """A checkpoint that is checked while it arrives, and stored once it is complete.

    Its owner must call :meth:`close`.

    Args:
        models: Registry that will have the model.
        name: Name of the model.
        size: Size of the file in bytes, if known.

    Raises:
        Problem: 422, no model can have the name.
        OSError: The file cannot be created.
    """

    def __init__(self, models: ModelRegistry, name: str, size: int | None) -> None:
        check_name(name)
        self._models = models
        self._name = name
        self._size = size
        self._start = b""
        self._held = 0
        self._header: SafetensorsHeader | None = None
        self._file = models.stored.unfinished_file()

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line that is not complete: a checkpoint has no lines."""
        return 0

    def feed(self, piece: bytes) -> None:
        """Write the next bytes.

        Args:
            piece: Bytes of the file.

        Raises:
            Problem: 400, the file is not ``.safetensors``, or is incomplete.
            OSError: The bytes could not be written.
        """
        self._held += len(piece)
        if self._header is None:
            self._start += piece
            self._header = parse_header(self._start, self._size)
            if self._header is not None:
                self._start = b""
        self._file.file.write(piece)

    def finish(self) -> tuple[Model, bool]:
        """Check the complete file and store it.

        Returns:
            The model, and whether its name is new.

        Raises:
            InvalidInput: As :meth:`ModelRegistry.put`.
            Problem: 400, the file is incomplete; else as :meth:`ModelRegistry.put`.
            OSError: The file could not be written.
        """
        if self._header is None:
            raise ended_in_header()
        held = self._held - self._header.bytes
        if held != self._header.promised_bytes:
            raise wrong_length(self._header.promised_bytes, held)
        return self._models.put(self._name, self._file)

    def cancel(self) -> None:
        """Do nothing: the check of a file is short."""

    def close(self) -> None:
        """Remove the file unless it was stored."""
        self._file.close()
