"""GET /v1/runs/{id}/inputs and /outputs/{name}: JSON, .npy, pictures, parts."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy
from matplotlib.image import imread
from numpy.typing import NDArray

from energy_flow.choices import Output, names_of
from service.plots.unreached_cells import COLOUR
from tests.support.bodies import NPY, npy
from tests.support.servers import ENDLESS, cancel, queue, rows, wait_until_ended

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def answer(server: Any) -> dict[str, Any]:
    fields = {"embeddings": rows(4).tolist(), "outputs": names_of(Output)}
    document: dict[str, Any] = server.client.post("/v1/simulate", json=fields).json()
    return document


@pytest.fixture
def url(answer: dict[str, Any]) -> str:
    return f"/v1/runs/{answer['run_id']}/outputs"


@pytest.mark.parametrize("name", names_of(Output))
def test_json_and_npy_equal_the_answer(
    client: httpx.Client, url: str, answer: dict[str, Any], name: str
) -> None:
    document = client.get(f"{url}/{name}").json()
    array = np.load(io.BytesIO(client.get(f"{url}/{name}?format=npy").content))
    assert document["data"] == answer["outputs"][name]
    assert document["shape"] == list(array.shape)
    assert document["dtype"] == str(array.dtype) == Output(name).dtype
    assert np.array_equal(np.array(document["data"], dtype=array.dtype), array)


@pytest.mark.parametrize("name", names_of(Output))
def test_safetensors_hold_the_same(client: httpx.Client, url: str, name: str) -> None:
    for part in ("", "&sample_from=1&sample_to=3"):
        file = client.get(f"{url}/{name}?format=safetensors{part}")
        array = np.load(io.BytesIO(client.get(f"{url}/{name}?format=npy{part}").content))
        ((held, tensor),) = safetensors.numpy.load(file.content).items()
        assert held == name
        assert tensor.dtype == array.dtype
        assert np.array_equal(tensor, array)


def test_parts(client: httpx.Client, url: str, answer: dict[str, Any]) -> None:
    whole = answer["outputs"]["surface"]
    one = client.get(f"{url}/surface?sample=2").json()
    assert one["data"] == whole[2:3]
    assert one["first_sample"] == 2
    part = client.get(f"{url}/surface?sample_from=1&sample_to=3&format=npy").content
    assert np.array_equal(np.load(io.BytesIO(part)), np.array(whole[1:3], dtype=np.float32))
    for query in ("sample=4", "sample_from=3&sample_to=3", "sample_to=5", "sample=1&sample_to=2"):
        assert client.get(f"{url}/surface?{query}").status_code == 422


def test_a_whole_file_can_be_resumed(client: httpx.Client, url: str) -> None:
    whole = client.get(f"{url}/surface?format=npy").content
    rest = client.get(f"{url}/surface?format=npy", headers={"range": "bytes=100-"})
    assert rest.status_code == 206
    assert rest.content == whole[100:]


PICTURES = ("surface?", "planes?", "hits?sample=1&", "hits?plane=z0&", "reached?plane=zdepth&")


@pytest.mark.parametrize("query", PICTURES)
def test_pictures(client: httpx.Client, url: str, query: str) -> None:
    picture = client.get(f"{url}/{query}format=png")
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(PNG)


@pytest.mark.parametrize("outputs", [["planes"], ["planes", "reached"], ["planes", "hits"]])
def test_pictures_leave_out_cells_that_are_not_reached(
    client: httpx.Client, outputs: list[str]
) -> None:
    fields = {"embeddings": rows(1).tolist(), "outputs": outputs}
    run = client.post("/v1/simulate", json=fields).json()
    assert list(run["outputs"]) == outputs
    url = f"/v1/runs/{run['run_id']}"
    assert set(client.get(url).json()["outputs"]) == {*outputs, "reached"}
    reached = client.get(f"{url}/outputs/reached").json()["data"]
    assert not np.all(reached)
    picture = client.get(f"{url}/outputs/planes?format=png")

    def count_grey(picture: NDArray[np.float32]) -> int:
        is_near = np.isclose(picture[..., :3], float(COLOUR), atol=0.01)
        return int(np.all(is_near, axis=-1).sum())

    # The smoothed edges of letters can have the same grey; a cell has some ten thousand points.
    assert count_grey(imread(io.BytesIO(picture.content))) > 5000


def test_an_answer_that_is_not_stored_has_what_was_requested(client: httpx.Client) -> None:
    fields = {"embeddings": rows(1).tolist(), "outputs": ["surface"], "store": False}
    assert list(client.post("/v1/simulate", json=fields).json()["outputs"]) == ["surface"]
    headers = {"accept": "application/octet-stream"}
    stored = client.post("/v1/simulate", json={**fields, "store": True}, headers=headers)
    assert "reached" not in safetensors.numpy.load(stored.content)


def test_a_run_without_outputs_of_cells_stores_none(client: httpx.Client) -> None:
    fields = {"embeddings": rows(1).tolist(), "outputs": ["embedding"]}
    run = client.post("/v1/simulate", json=fields).json()
    assert client.get(f"/v1/runs/{run['run_id']}").json()["outputs"] == ["embedding"]


def test_formats_by_accept(client: httpx.Client, url: str) -> None:
    known = ("application/json", "application/x-npy", "application/octet-stream", "image/png")
    for media_type in known:
        document = client.get(f"{url}/surface", headers={"accept": media_type})
        assert document.headers["content-type"] == media_type


def test_unknown_resources_are_refused(client: httpx.Client, url: str) -> None:
    assert client.get(f"{url}/volume").status_code == 422
    unknown = client.get(f"{url}/surface?format=tiff")
    assert unknown.status_code == 406
    assert "npy" in unknown.json()["detail"]
    assert client.get(f"{url}/embedding?format=png").status_code == 406
    run = client.post("/v1/simulate", json={"embeddings": rows(1).tolist(), "outputs": []}).json()
    missing = client.get(f"/v1/runs/{run['run_id']}/outputs/surface")
    assert missing.status_code == 404


def test_inputs_are_the_embeddings(client: httpx.Client, answer: dict[str, Any]) -> None:
    url = f"/v1/runs/{answer['run_id']}/inputs"
    document = client.get(url).json()
    assert document["run_id"] == answer["run_id"]
    assert (document["name"], document["dtype"]) == ("inputs", "float32")
    assert document["shape"] == [4, 8]
    assert np.array_equal(np.array(document["data"], np.float32), rows(4))
    assert np.array_equal(np.load(io.BytesIO(client.get(f"{url}?format=npy").content)), rows(4))
    tensors = safetensors.numpy.load(client.get(f"{url}?format=safetensors&sample_from=3").content)
    assert np.array_equal(tensors["inputs"], rows(4)[3:])
    one = client.get(f"{url}?sample=2").json()
    assert (one["first_sample"], one["shape"]) == (2, [1, 8])
    assert np.array_equal(np.array(one["data"], np.float32), rows(4)[2:3])
    assert client.get(f"{url}?sample=4").status_code == 422
    assert client.get(f"{url}?format=png").status_code == 406
    assert client.get("/v1/runs/nothing/inputs").status_code == 404


def test_inputs_of_a_run_of_a_dataset(client: httpx.Client) -> None:
    embeddings = rows(40_000)
    client.put("/v1/datasets/long", content=npy(embeddings), headers=NPY).raise_for_status()
    fields = {"dataset": "long", "rows": [1, 35_001], "options": {"max_steps": 1}}
    run = client.post("/v1/runs", json=fields)
    assert run.status_code == 202, run.text
    run_id = run.json()["run_id"]
    assert wait_until_ended(client, run_id)["state"] == "succeeded"
    # More than one piece of the answer.
    for name in ("npy", "json"):
        sent = client.get(f"/v1/runs/{run_id}/inputs?format={name}&sample_to=34000")
        found = np.load(io.BytesIO(sent.content)) if name == "npy" else sent.json()["data"]
        assert np.array_equal(np.array(found, np.float32), embeddings[1:34_001])
    client.delete("/v1/datasets/long").raise_for_status()
    assert client.get(f"/v1/runs/{run_id}/inputs").status_code == 200


def test_inputs_of_a_run_that_has_not_ended(client: httpx.Client) -> None:
    run_id = queue(client, 1, options=ENDLESS)
    assert client.get(f"/v1/runs/{run_id}/inputs").status_code == 409
    cancel(client, run_id)
    assert client.get(f"/v1/runs/{run_id}/inputs").json()["shape"] == [1, 8]
