"""Files of a data directory that somebody else wrote or changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import orjson
import pytest
from safetensors.numpy import save

from service.store.descriptions.dataset_names import DatasetNames
from service.store.recovery.restore import make_content_row


@pytest.mark.parametrize("shape", [(), (3,), (3, 2, 1)])
def test_a_dataset_whose_targets_are_no_rows_is_not_restored(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    inputs, targets = np.ones((3, 2), np.float32), np.ones(shape, np.float32)
    file = save({"inputs": inputs, "targets": targets})
    path = tmp_path / f"{hashlib.sha256(file).hexdigest()}.safetensors"
    path.write_bytes(file)
    with pytest.raises(ValueError, match="no file of a dataset"):
        make_content_row(path)


@pytest.mark.parametrize("created_at", ["inf", "nan", 1e300, -1e300, "x", None])
def test_the_time_of_a_name_that_is_none_is_damage(tmp_path: Path, created_at: object) -> None:
    content = {"digest": "0" * 64, "created_at": created_at}
    (tmp_path / "name.json").write_bytes(orjson.dumps(content))
    assert DatasetNames(tmp_path).find_all() == []
