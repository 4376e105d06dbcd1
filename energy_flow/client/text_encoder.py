"""Text encoders: from sentences to embeddings, on the side of the caller.

``sentence_transformers``, and torch with it, is imported when a model of it is loaded, not before.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from energy_flow.array_likes import show_value
from energy_flow.client.tensors import embeddings_array
from energy_flow.errors import EmbeddingError, EncoderUnavailable, Fault

DEFAULT_ENCODER: Final = "sentence-transformers/all-MiniLM-L6-v2"
"""Gives 384 numbers a text, as the trained model ``dictionary`` takes them."""

TEXTS_AT_ONCE: Final = 1024
"""Texts that are encoded by one call of an encoder, which sorts them by length."""

NETWORK_SECONDS: Final = 10.0
"""Longest wait for an answer about a model, before it is looked for on this machine alone."""

_TEXTS: Final = "texts"
_WIDTH_METHODS: Final = ("get_embedding_dimension", "get_sentence_embedding_dimension")
"""Methods of a ``SentenceTransformer``, the second of earlier versions."""


class Encoder(Protocol):
    """Anything that encodes texts, such as a ``SentenceTransformer``."""

    def encode(self, texts: list[str], /) -> Any:
        """Return the embeddings of texts, [texts, dimension]."""


EncoderChoice: TypeAlias = str | os.PathLike[str] | Encoder


class TextEncoder:
    """A text encoder, which is loaded when it is first used.

    Threads may share it.

    Args:
        encoder: name or folder of a model of sentence-transformers, or an object whose method
            ``encode`` takes a list of texts and returns their embeddings.
        lock: held while it encodes; by default one of its own. Tokenizers are not made for several
            threads at a time.

    Attributes:
        name: the name or the folder; of an object, that of its class.
    """

    def __init__(
        self,
        encoder: EncoderChoice = DEFAULT_ENCODER,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        self._encoder: Encoder | None = None
        if isinstance(encoder, str | os.PathLike):
            self.name = os.fspath(encoder)
        elif hasattr(encoder, "encode"):
            self.name = type(encoder).__name__
            self._encoder = encoder
        else:
            raise ValueError(
                "an encoder is the name or the folder of a model, or an object with the method "
                f"encode, not {type(encoder).__name__}"
            )
        self._encode: Callable[[list[str]], Any] | None = None
        self._lock: AbstractContextManager[object] = lock or threading.RLock()

    @property
    def width(self) -> int | None:
        """Return the numbers of an embedding; ``None`` if only its results show that.

        Raises:
            ModuleNotFoundError: sentence-transformers is not installed.
            EncoderUnavailable: the model cannot be loaded.
        """
        self.load()
        found = (getattr(self._encoder, name, None) for name in _WIDTH_METHODS)
        width = next((method() for method in found if method is not None), None)
        return width if isinstance(width, int) else None

    def encode(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts, float32 [texts, dimension].

        Args:
            texts: at least one; none is empty.

        Raises:
            EmbeddingError: a text, or what the encoder returns for it, is refused; it names the
                index of the text.
            ModuleNotFoundError: sentence-transformers is not installed.
            EncoderUnavailable: the model cannot be loaded.
        """
        return np.concatenate(list(self.encode_parts(check_texts(texts))))

    def encode_parts(self, texts: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """Encode texts, ``TEXTS_AT_ONCE`` of them at a time.

        Args:
            texts: none is empty.

        Yields:
            Embeddings of the next texts, float32 [texts, dimension].

        Raises:
            EmbeddingError: the encoder returns something else than finite numbers; it names the
                index of the text.
            ModuleNotFoundError: sentence-transformers is not installed.
            EncoderUnavailable: the model cannot be loaded.
        """
        rest, first, width = iter(texts), 0, None
        while part := list(islice(rest, TEXTS_AT_ONCE)):
            with self._lock:
                returned = self._load()(part)
            rows = self._check_rows(returned, part, first, width)
            yield rows
            first, width = first + len(part), rows.shape[1]

    def load(self) -> None:
        """Load the model now, unless it is loaded.

        Raises:
            ModuleNotFoundError: sentence-transformers is not installed.
            EncoderUnavailable: the model cannot be loaded.
        """
        self._load()

    def _load(self) -> Callable[[list[str]], Any]:
        """Return the function that encodes, as :meth:`load`."""
        with self._lock:
            if self._encode is None:
                if self._encoder is None:
                    model = _load_model(self.name)
                    self._encoder = model
                    self._encode = partial(model.encode, show_progress_bar=False)
                else:
                    self._encode = self._encoder.encode
            return self._encode

    def _check_rows(
        self, returned: Any, texts: list[str], first: int, width: int | None
    ) -> NDArray[np.float32]:
        try:
            numbers = embeddings_array(returned)
        except ValueError as error:
            message = f"the encoder {self.name} does not return rows of numbers: {error}"
            raise EmbeddingError(Fault((_TEXTS, first), message, show_value(texts[0]))) from None
        expected = (len(texts), numbers.shape[1] if width is None else width)
        if numbers.shape != expected or not numbers.shape[1]:
            message = (
                f"the encoder {self.name} returns an array {list(numbers.shape)} for "
                f"{len(texts):,} texts; it must return a row for each, all of one length"
            )
            raise EmbeddingError(Fault((_TEXTS, first), message, show_value(texts[0])))
        with np.errstate(over="ignore"):
            rows = numbers.astype(np.float32, copy=False)
        is_fit = np.isfinite(rows).all(axis=1)
        if not is_fit.all():
            place = int(np.argmin(is_fit))
            message = f"the encoder {self.name} returns numbers that are not finite in float32"
            fault = Fault((_TEXTS, first + place), message, show_value(texts[place]))
            raise EmbeddingError(fault)
        return rows


class TextEncoders:
    """Text encoders that stay loaded. Threads may share them."""

    def __init__(self) -> None:
        self._by_name: dict[str, TextEncoder] = {}
        self._lock = threading.Lock()
        # Several requests may have the same object.
        self._lock_of_objects = threading.RLock()

    def find(self, encoder: EncoderChoice | None) -> TextEncoder:
        """Return an encoder, the same one for the same name or folder.

        Args:
            encoder: as for :class:`TextEncoder`; ``None`` stands for :data:`DEFAULT_ENCODER`.

        Raises:
            ValueError: it is something else.
        """
        if isinstance(encoder, TextEncoder):
            return encoder
        if encoder is not None and not isinstance(encoder, str | os.PathLike):
            return TextEncoder(encoder, self._lock_of_objects)
        found = TextEncoder(DEFAULT_ENCODER if encoder is None else encoder)
        with self._lock:
            return self._by_name.setdefault(found.name, found)


def check_texts(texts: Iterable[str]) -> list[str]:
    """Return texts as a list, if each can be encoded.

    Args:
        texts: a list, or anything else with texts in order, such as a column of a data frame.

    Raises:
        EmbeddingError: there is none, or one is empty or no text; it names the index.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        message = "must be a list of texts; one text is [text]"
        raise EmbeddingError(Fault((_TEXTS,), message, show_value(texts)))
    held = list(texts)
    if not held:
        raise EmbeddingError(Fault((_TEXTS,), "must hold at least one text", 0))
    for index, text in enumerate(held):
        reason = find_text_fault(text)
        if reason is not None:
            raise EmbeddingError(Fault((_TEXTS, index), reason, show_value(text)))
    return held


def find_text_fault(text: Any) -> str | None:
    """Return why something cannot be encoded as a text; ``None`` if it can."""
    if not isinstance(text, str):
        is_missing = text is None or text != text  # NaN, as data frames have it.
        return "must be a text, not missing" if is_missing else "must be a text"
    if not text or text.isspace():
        return "is empty; leave it out"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "has a surrogate, which is no character"
    return None


def encode_texts(
    encoder: TextEncoder, texts: list[str], width: int | None, model: str
) -> NDArray[np.float32]:
    """Encode texts for a model.

    Args:
        encoder: the encoder.
        texts: as :func:`check_texts` returns them.
        width: numbers of a row that the model takes; ``None`` if that is not known.
        model: name of the model, for messages.

    Raises:
        EmbeddingError: as :meth:`TextEncoder.encode`; also where the model takes rows of another
            width, before all texts are encoded.
    """
    if width is not None:
        _check_width(encoder, encoder.width, width, model)
    parts = encoder.encode_parts(texts)
    first = next(parts)
    if width is not None:
        _check_width(encoder, first.shape[1], width, model)
    return np.concatenate([first, *parts])


async def encode_texts_async(
    encoder: TextEncoder, texts: list[str], width: int | None, model: str
) -> NDArray[np.float32]:
    """Encode texts in a worker thread, otherwise as :func:`encode_texts`."""
    return await asyncio.to_thread(encode_texts, encoder, texts, width, model)


def _check_width(encoder: TextEncoder, given: int | None, taken: int, model: str) -> None:
    if given not in (None, taken):
        message = (
            f"the encoder {encoder.name} returns {given} numbers a text, and the model {model} "
            f"takes {taken}; choose another encoder or another model"
        )
        raise EmbeddingError(Fault((_TEXTS,), message, given))


def _load_model(name: str) -> Any:
    """Load a model of sentence-transformers.

    Raises:
        ModuleNotFoundError: sentence-transformers is not installed.
        EncoderUnavailable: the model cannot be loaded.
    """
    path = Path(name)
    if not path.exists() and (path.is_absolute() or name.startswith((".", "~"))):
        raise EncoderUnavailable(f"the encoder {name} does not exist; check the path of its folder")
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"encoding texts needs the package {error.name}; install it with: "
            "pip install 'energy-flow[text]'",
            name=error.name,
        ) from None
    # Without a network, each of its files would be tried again for a minute or longer.
    no_network = None if path.exists() else _find_network_fault(name)
    try:
        return SentenceTransformer(name, local_files_only=no_network is not None)
    # What its libraries raise for a model that is not there has no common class.
    except Exception as error:
        reason = _describe(error)
        advice = (
            "choose a folder that holds a model of sentence-transformers"
            if path.exists()
            else "where there is no network, give the path of a folder that holds the model"
        )
        if no_network is not None:
            reason = f"it is not on this machine, and cannot be downloaded: {no_network}"
            advice = (
                f"download it where there is a network, with: hf download {name} --local-dir "
                "FOLDER, and give the path of that folder"
            )
        raise EncoderUnavailable(
            f"the encoder {name} cannot be loaded: {reason}; {advice}"
        ) from None


def _find_network_fault(name: str) -> str | None:
    """Return why a model cannot be downloaded because of the network; ``None`` if it may be.

    Args:
        name: of the model.
    """
    # A part of sentence-transformers.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        HfApi().model_info(name, timeout=NETWORK_SECONDS)
    except (HfHubHTTPError, HFValidationError):
        # There was an answer, or none was asked for; the library states what is wrong.
        return None
    # Those of connections are of the library's own HTTP client, or say that it is told to be
    # offline.
    except Exception as error:
        return _describe(error)
    return None


def _describe(error: Exception) -> str:
    """Return an exception in one line."""
    lines = chain(str(error).splitlines(), (type(error).__name__,))
    return next(line.strip(" .") for line in lines if line.strip(" ."))
