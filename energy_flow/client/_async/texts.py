"""Texts in the place of embeddings, encoded on the side of the caller."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from energy_flow.client import calls
from energy_flow.client._async.connection import AsyncConnection
from energy_flow.client.answers import json_as
from energy_flow.client.models import DEFAULT_MODEL, Model, model_path
from energy_flow.client.simulation import check_sources
from energy_flow.client.text_encoder import (
    EncoderChoice,
    TextEncoders,
    check_texts,
    encode_texts_async,
)


class AsyncTexts:
    """Encodes the texts of requests. Encoders stay loaded.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._encoders = TextEncoders()

    async def rows(
        self,
        embeddings: ArrayLike | None,
        texts: Sequence[str] | None,
        encoder: EncoderChoice | None,
        model: str | None,
    ) -> ArrayLike:
        """Return the embeddings of a request, given or encoded.

        Args:
            embeddings: [rows, dimension]; ``None`` with texts.
            texts: as for :meth:`encode`; ``None`` with embeddings.
            encoder: as for :meth:`encode`; ``None`` with embeddings.
            model: as for :meth:`encode`.

        Raises:
            ValueError: both or neither are given; otherwise as :meth:`encode`.
            ModuleNotFoundError: as :meth:`encode`.
            EncoderUnavailable: as :meth:`encode`.
            ProblemError: as :meth:`encode`.
        """
        check_sources(encoder, embeddings=embeddings, texts=texts)
        if texts is not None:
            return await self.encode(texts, encoder, model)
        assert embeddings is not None
        return embeddings

    async def encode(
        self, texts: Sequence[str], encoder: EncoderChoice | None, model: str | None
    ) -> ArrayLike:
        """Return the embeddings of texts for a model of the server, [texts, dimension].

        Args:
            texts: at least one; none is empty.
            encoder: name, folder or object; by default the usual encoder.
            model: name of the model; by default the server's.

        Raises:
            ValueError: a text or the encoder is refused, or the model takes rows of another width.
            ModuleNotFoundError: sentence-transformers is not installed.
            EncoderUnavailable: the encoder cannot be loaded.
            ProblemError: the server has no such model.
        """
        checked, found = check_texts(texts), self._encoders.find(encoder)
        name = DEFAULT_MODEL if model is None else model
        taken = await self._connection.ask(calls.get(model_path(name)), json_as(Model))
        return await encode_texts_async(found, checked, taken.embedding_dim, name)
