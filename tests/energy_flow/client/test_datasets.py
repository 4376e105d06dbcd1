"""Datasets and checkpoints through both clients."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from energy_flow.client import (
    AsyncFlowClient,
    BadRequest,
    Conflict,
    FlowClient,
    NotFound,
    Retry,
    Unprocessable,
)
from tests.support.live_server import LiveServer


def generated(seed: int, rows: int = 7) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)


def test_an_array_is_stored_and_read_back(client: FlowClient, tmp_path: Path) -> None:
    numbers = generated(1)
    kept = client.datasets.put("array", numbers)
    assert (kept.name, kept.rows, kept.dim, kept.targets_dim) == ("array", 7, 8, None)
    assert kept == client.datasets.get("array")
    assert kept == client.datasets.put("array", numbers.astype(np.float64))
    path = client.datasets.download("array", tmp_path / "array.safetensors")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == kept.digest
    np.testing.assert_array_equal(load_file(path)["inputs"], numbers)
    assert "array" in [dataset.name for dataset in client.datasets.list(page_size=2)]
    with pytest.raises(Conflict):
        client.datasets.put("array", generated(2))
    client.datasets.delete("array")
    with pytest.raises(NotFound):
        client.datasets.get("array")
    with pytest.raises(NotFound):
        client.datasets.delete("array")


def test_targets_stay_with_their_rows(client: FlowClient, tmp_path: Path) -> None:
    numbers, targets = generated(3), [[float(row)] for row in range(7)]
    kept = client.datasets.put("with-targets", numbers, targets=targets)
    assert kept.targets_dim == 1
    path = tmp_path / "both.safetensors"
    save_file({"embeddings": numbers, "targets": np.array(targets, np.float32)}, path)
    assert client.datasets.put("from-file", path).digest == kept.digest
    with pytest.raises(Unprocessable, match="targets"):
        client.datasets.put("short", numbers, targets=targets[:3])


def test_a_file_is_sent_piece_by_piece_with_progress(client: FlowClient, tmp_path: Path) -> None:
    path = tmp_path / "long.npy"
    np.save(path, generated(4, rows=30_000))
    size = path.stat().st_size
    progress: list[tuple[int, int]] = []
    dataset = client.datasets.put(
        "long", str(path), on_progress=lambda sent, total: progress.append((sent, total))
    )
    assert dataset.rows == 30_000
    assert len(progress) > 2
    assert [sent for sent, _ in progress] == sorted({sent for sent, _ in progress})
    assert progress[-1] == (size, size)
    renamed = path.rename(tmp_path / "long.bin")
    assert client.datasets.put("long", renamed, format="npy") == dataset


def test_content_that_cannot_be_stored_is_refused(client: FlowClient, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("1,2\n")
    with pytest.raises(ValueError, match=r"\.parquet"):
        client.datasets.put("no", path)
    with pytest.raises(FileNotFoundError):
        client.datasets.put("no", tmp_path / "none.npy")
    with pytest.raises(ValueError, match="rows"):
        client.datasets.put("no", [1.0, 2.0])
    with pytest.raises(ValueError, match="targets"):
        client.datasets.put("no", path, targets=[[1.0]], format="npy")
    with pytest.raises(ValueError, match="format"):
        client.datasets.put("no", [[1.0]], format="npy")
    with pytest.raises(Unprocessable, match="format"):
        client.datasets.put("no", path, format="xls")
    np.save(tmp_path / "not_finite.npy", np.full((2, 3), np.nan))
    with pytest.raises(Unprocessable) as refused:
        client.datasets.put("no", tmp_path / "not_finite.npy")
    assert refused.value.errors[0].loc == ("inputs", 0, 0)
    with pytest.raises(ValueError, match="dataset"):
        client.submit_run()
    with pytest.raises(ValueError, match="dataset"):
        client.submit_run([[0.0]], dataset="x")
    with pytest.raises(ValueError, match="dataset"):
        client.submit_run([[0.0]], rows=[0, 1])


def test_a_run_of_a_dataset(client: FlowClient) -> None:
    numbers = generated(5)
    kept = client.datasets.put("for-runs", numbers)
    run = client.wait(client.submit_run(dataset="for-runs", rows=(2, 6), seed=3).run_id)
    assert run.state == "succeeded"
    assert run.dataset is not None
    assert (run.dataset.name, run.dataset.digest) == ("for-runs", kept.digest)
    assert run.dataset.rows == (2, 6)
    assert run.model.digest == client.model("default").digest
    direct = client.simulate(numbers[2:6], sample_keys=range(2, 6), seed=3)
    np.testing.assert_array_equal(client.outputs(run.run_id), direct.surface)
    assert client.run(str(direct.run_id)).dataset is None


def test_a_model_is_sent_loaded_and_removed(client: FlowClient, tmp_path: Path) -> None:
    path = client.download_model("default", tmp_path / "default.safetensors")
    progress: list[int] = []
    model = client.put_model("copy", path, on_progress=lambda sent, _: progress.append(sent))
    assert progress[-1] == path.stat().st_size
    assert model.digest == client.model("default").digest
    assert client.unload_model("copy").loaded is False
    assert client.load_model("copy").loaded is True
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadRequest, match="header states"):
        client.put_model("half", path)
    client.delete_model("copy")
    with pytest.raises(NotFound):
        client.model("copy")
    with pytest.raises(Conflict, match="default"):
        client.delete_model("default")


def test_the_asynchronous_client_does_the_same(server: LiveServer, tmp_path: Path) -> None:
    path = tmp_path / "numbers.npy"
    np.save(path, generated(6, rows=20_000))
    progress: list[int] = []

    async def use() -> None:
        async with AsyncFlowClient(server.url) as client:
            dataset = await client.datasets.put(
                "async", path, on_progress=lambda sent, _: progress.append(sent)
            )
            assert dataset == await client.datasets.get("async")
            assert dataset in [entry async for entry in client.datasets.list()]
            saved = await client.datasets.download("async", tmp_path / "saved.safetensors")
            assert hashlib.sha256(saved.read_bytes()).hexdigest() == dataset.digest
            run = await client.wait((await client.submit_run(dataset="async", rows=[0, 2])).run_id)
            assert run.dataset is not None
            await client.datasets.delete("async")
            checkpoint = await client.download_model("default", tmp_path / "model.safetensors")
            model = await client.put_model("async-sent", checkpoint)
            assert (await client.unload_model("async-sent")).loaded is False
            assert (await client.load_model("async-sent")) == model
            await client.delete_model("async-sent")
            with pytest.raises(NotFound):
                await client.model("async-sent")

    asyncio.run(use())
    assert progress[-1] == path.stat().st_size


def test_a_broken_upload_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "numbers.npy"
    np.save(path, generated(7))
    bodies: list[bytes] = []
    answer = {
        "name": "x", "digest": "d", "rows": 7, "dim": 8, "targets_dim": None, "bytes": 1,
        "created_at": "2025-01-01T00:00:00Z",
    }  # fmt: skip

    def breaking(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        assert request.headers["content-length"] == str(len(bodies[-1]))
        if len(bodies) == 1:
            raise httpx.WriteError("reset")
        return httpx.Response(201, json=answer)

    retry = Retry(attempts=1, first_wait=0.001)
    transport = httpx.MockTransport(breaking)
    with FlowClient("http://server", retry=retry, transport=transport) as client:
        assert client.datasets.put("x", path).rows == 7
    assert bodies == [path.read_bytes()] * 2
