"""A checkpoint that is being sent, from its first byte to its name."""

from __future__ import annotations

from service.models.registry import Model, ModelRegistry, check_name
from service.safetensors_header import (
    SafetensorsHeader,
    ended_in_header,
    parse_header,
    wrong_length,
)


class ModelUpload:
    """Keeps a checkpoint while it arrives, and names it once it has been checked.

    Args:
        size: of the file, if that is known.

    Raises:
        Problem: 422, no model may have the name.
        OSError: there is no room.
    """

    def __init__(self, models: ModelRegistry, name: str, size: int | None) -> None:
        check_name(name)
        self._models = models
        self._name = name
        self._size = size
        self._start = b""
        self._held = 0
        self._header: SafetensorsHeader | None = None
        self._file = models.unfinished_file()

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes.

        Raises:
            Problem: 400, this is no .safetensors file, or not all of it.
            OSError: it could not be written.
        """
        self._held += len(piece)
        if self._header is None:
            self._start += piece
            self._header = parse_header(self._start, self._size)
            if self._header is not None:
                self._start = b""
        self._file.file.write(piece)

    def finish(self) -> tuple[Model, bool]:
        """The file has ended.

        Returns:
            the model, and whether its name is new.

        Raises:
            Problem, InvalidInput, OSError: as :meth:`ModelRegistry.put`.
        """
        if self._header is None:
            raise ended_in_header()
        held = self._held - self._header.bytes
        if held != self._header.promised_bytes:
            raise wrong_length(self._header.promised_bytes, held)
        return self._models.put(self._name, self._file)

    def close(self) -> None:
        """Removes what was not named."""
        self._file.close()
