"""Arrays of other libraries: read exactly by simulations, datasets and training, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from energy_flow.array_likes import as_matrix
from energy_flow.client.tensors import embeddings_array
from energy_flow.errors import EmbeddingError
from energy_flow.simulation.inputs import check_embeddings
from energy_flow.training.data import Pairs

INPUTS = np.random.default_rng(3).normal(size=(6, 8)).astype(np.float32)
LISTS = INPUTS.tolist()
INTEGERS = np.arange(48).reshape(6, 8) * 1_000_003
BFLOAT16 = torch.tensor(INPUTS).bfloat16()
OF_BFLOAT16 = BFLOAT16.float().numpy()
COLUMN = pa.array(LISTS, pa.list_(pa.float32()))
FIXED = pa.FixedSizeListArray.from_arrays(pa.array(INPUTS.reshape(-1)), 8)
SHAPED = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), [8]), FIXED)
TABLE = pd.DataFrame(INPUTS)

SOUND: dict[str, tuple[Any, NDArray[Any]]] = {
    "lists": (LISTS, INPUTS),
    "tuples": (tuple(map(tuple, LISTS)), INPUTS),
    "arrays": (list(INPUTS), INPUTS),
    "float16": (INPUTS.astype(np.float16), INPUTS.astype(np.float16)),
    "float64": (INPUTS.astype(np.float64), INPUTS),
    "int64": (INTEGERS, INTEGERS),
    "uint8": (INTEGERS.astype(np.uint8), INTEGERS.astype(np.uint8)),
    "bfloat16 of NumPy": (INPUTS.astype(bfloat16), INPUTS.astype(bfloat16)),
    "nothing masked": (np.ma.masked_invalid(INPUTS), INPUTS),
    "fortran": (np.asfortranarray(INPUTS), INPUTS),
    "tensor": (torch.tensor(INPUTS), INPUTS),
    "tensor in bfloat16": (BFLOAT16, OF_BFLOAT16),
    "tensor with gradients": (torch.tensor(INPUTS, requires_grad=True) * 1, INPUTS),
    "tensor in bfloat16 with gradients": (BFLOAT16.clone().requires_grad_(), OF_BFLOAT16),
    "list of tensors": (list(torch.tensor(INPUTS, requires_grad=True)), INPUTS),
    "list of tensors in bfloat16": (list(BFLOAT16), OF_BFLOAT16),
    "pandas frame": (TABLE, INPUTS),
    "pandas frame with null types": (TABLE.astype("Float32"), INPUTS),
    "pandas frame of a column": (pd.DataFrame({"x": LISTS}), INPUTS),
    "pandas frame of a column of arrays": (pd.DataFrame({"x": list(INPUTS)}), INPUTS),
    "pandas column of lists": (pd.Series(LISTS), INPUTS),
    "pandas column of arrays": (pd.Series(list(INPUTS), index=range(6, 12)), INPUTS),
    "pandas column of arrow": (pd.Series(LISTS, dtype=pd.ArrowDtype(COLUMN.type)), INPUTS),
    "pandas column of integers": (pd.Series(INTEGERS.tolist()), INTEGERS),
    "polars frame": (pl.DataFrame(INPUTS), INPUTS),
    "polars column of lists": (pl.Series(LISTS, dtype=pl.List(pl.Float32)), INPUTS),
    "polars column of arrays": (pl.Series(INPUTS, dtype=pl.Array(pl.Float32, 8)), INPUTS),
    "polars frame of a column": (pl.DataFrame({"x": LISTS}), INPUTS),
    "arrow lists": (COLUMN, INPUTS),
    "arrow lists cut": (pa.concat_arrays([COLUMN, COLUMN])[3:9], INPUTS[[3, 4, 5, 0, 1, 2]]),
    "arrow large lists": (pa.array(LISTS, pa.large_list(pa.float64())), INPUTS),
    "arrow lists of a size": (FIXED, INPUTS),
    "arrow tensors": (SHAPED, INPUTS),
    "arrow in chunks": (pa.chunked_array([COLUMN[:2], COLUMN[2:]]), INPUTS),
    "arrow tensors in chunks": (pa.chunked_array([SHAPED]), INPUTS),
}


@pytest.mark.parametrize("kind", SOUND)
def test_numbers_are_read_exactly(kind: str) -> None:
    given, numbers = SOUND[kind]
    expected = numbers.astype(np.float32)
    np.testing.assert_array_equal(check_embeddings(given, 8), expected, strict=True)
    sent = embeddings_array(given)
    assert sent.flags.c_contiguous
    np.testing.assert_array_equal(sent.astype(np.float32), expected, strict=True)
    pairs = Pairs.of(given, given)
    np.testing.assert_array_equal(pairs.inputs, expected, strict=True)
    np.testing.assert_array_equal(pairs.targets, expected, strict=True)


def spoilt(value: Any) -> list[list[Any]]:
    """Return the rows with another value in row 4, column 3."""
    changed = [list(row) for row in LISTS]
    changed[4][3] = value
    return changed


MASK = np.zeros(INPUTS.shape, dtype=bool)
MASK[4, 3] = True
MASKED = np.ma.masked_array(INPUTS, MASK)
WITHOUT_A_ROW = [*LISTS[:4], None, LISTS[5]]

WRONG: dict[str, tuple[Any, str]] = {
    "masked": (MASKED, r"\.4\.3: is masked; fill masked values"),
    "masked row": (list(MASKED), "is masked; fill masked values"),
    "masked integers": (np.ma.masked_equal(INTEGERS, INTEGERS[4, 3]), r"\.4\.3: is masked"),
    "no row": (WITHOUT_A_ROW, r"\.4: must be a list of numbers"),
    "no number": (spoilt(None), r"\.4\.3: must be a number"),
    "pandas without a row": (pd.Series(WITHOUT_A_ROW), r"\.4: must be a list of numbers"),
    "pandas without a number": (pd.Series(spoilt(None)), r"\.4\.3: must be a number"),
    "pandas frame without a number": (
        pd.DataFrame(spoilt(None), dtype="Float32"),
        r"\.4\.3: must be a number",
    ),
    "polars without a row": (pl.Series(WITHOUT_A_ROW), r"\.4: must be a list of numbers"),
    "polars without a number": (pl.Series(spoilt(None)), r"\.4\.3: must be a number"),
    "polars frame without a number": (
        pl.DataFrame(spoilt(None), orient="row"),
        r"\.4\.3: must be a number",
    ),
    "polars texts": (pl.DataFrame({"x": [1.0], "y": ["a"]}), "has the column 'y' of texts"),
    "arrow without a row": (pa.array(WITHOUT_A_ROW), r"\.4: must be a list of numbers"),
    "arrow without a number": (pa.array(spoilt(None)), r"\.4\.3: must be a number"),
    "arrow ragged": (pa.array([[1.0], [1.0, 2.0]]), r"\.1: must hold 1 numbers"),
    "pandas ragged": (pd.Series([[1.0], [1.0, 2.0]]), r"\.1: must hold 1 numbers"),
    "polars ragged": (pl.Series([[1.0], [1.0, 2.0]]), r"\.1: must hold 1 numbers"),
    "texts": (pd.DataFrame({"x": [1.0], "y": ["a"]}), "has the column 'y' of texts"),
    "one axis": (pa.array([1.0, 2.0]), r"\[2\]"),
    "booleans": (INPUTS > 0, "real numbers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_others_are_refused_in_words(kind: str) -> None:
    given, words = WRONG[kind]
    with pytest.raises(ValueError, match=words):
        embeddings_array(given)
    with pytest.raises(ValueError, match=words):
        Pairs.of(given, LISTS)
    width = 1 if "ragged" in kind else 2 if "texts" in kind else 8
    with pytest.raises(ValueError, match=words):
        check_embeddings(given, width)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_numbers_that_float32_cannot_take_are_refused_with_their_place(value: float) -> None:
    for given in (
        pd.Series(spoilt(value)),
        pl.Series(spoilt(value)),
        pa.array(spoilt(value)),
        torch.tensor(spoilt(value), dtype=torch.float64),
    ):
        with pytest.raises(ValueError, match=r"4\.3: must be"):
            check_embeddings(given, 8)
        with pytest.raises(ValueError, match=r"inputs\.4\.3: must be"):
            Pairs.of(given, given)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("name", ["target", "targets"])
def test_targets_are_no_part_of_an_embedding(frame: Any, name: str) -> None:
    with pytest.raises(EmbeddingError, match=f"has the column '{name}'"):
        as_matrix(frame({"a": [1.0], "b": [2.0], name: [3.0]}))


@pytest.mark.parametrize(
    "frame",
    [
        TABLE.assign(title=list("abcdef")),
        TABLE.assign(title=pd.Categorical(list("abcdef"))),
        pd.DataFrame({"title": [None, *"bcdef"], "embedding": LISTS}),
        pl.DataFrame({"title": list("abcdef"), "embedding": LISTS}),
    ],
)
def test_a_column_of_texts_is_named(frame: Any) -> None:
    for read in (as_matrix, embeddings_array, lambda values: check_embeddings(values, 8)):
        with pytest.raises(EmbeddingError, match="has the column 'title' of texts"):
            read(frame)


def test_one_row_without_its_list_is_refused() -> None:
    for row in (INPUTS[0], LISTS[0], torch.tensor(INPUTS[0])):
        for read in (
            embeddings_array,
            lambda values: check_embeddings(values, 8),
            lambda values: Pairs.of(values, INPUTS),
        ):
            with pytest.raises(ValueError, match=r"one row is \[\[\.\.\.\]\] \(shape \[1, 8\]\)"):
                read(row)
