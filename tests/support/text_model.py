"""A small text encoder, made from word vectors that a package holds, and one of a few lines."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

WIDTH = 256
"""Numbers of an embedding of the model."""


def save_text_model(folder: Path) -> Path:
    """Save a model of sentence-transformers: the mean of word vectors, of length one.

    Args:
        folder: folder to create.

    Returns:
        The folder.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    # The package itself is not imported: it sets up logging.
    found = find_spec("wordllama")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    (vectors,) = load_file(package / "weights" / f"l2_supercat_{WIDTH}.safetensors").values()
    tokenizer = Tokenizer.from_file(
        str(package / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    words = StaticEmbedding(tokenizer, embedding_weights=vectors.astype(np.float32))
    SentenceTransformer(modules=[words, Normalize()], device="cpu").save_pretrained(str(folder))
    return folder


class LetterEncoder:
    """An encoder that counts letters, for models of a few numbers.

    Args:
        width: numbers of an embedding.

    Attributes:
        calls: number of texts of each call.
    """

    def __init__(self, width: int = 8) -> None:
        self._width = width
        self.calls: list[int] = []

    def encode(self, texts: list[str]) -> NDArray[np.float64]:
        """Return the share of the letters a, b, c, … in each text."""
        self.calls.append(len(texts))
        letters = [chr(ord("a") + place) for place in range(self._width)]
        return np.array([[text.count(letter) / len(text) for letter in letters] for text in texts])
