"""A server below a path of a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from energy_flow.client import FlowClient
from service.settings import Settings
from tests.support.bodies import NPY, npy
from tests.support.nginx import nginx
from tests.support.servers import RunningServer, rows, serving, wait_until_ended


def forward(server: RunningServer, *, strips: bool) -> str:
    """Return the ``location`` block that forwards ``/energy/`` to a server."""
    upstream = f"http://{server.client.base_url.host}:{server.client.base_url.port}"
    prefix = "proxy_set_header X-Forwarded-Prefix /energy;" if strips else ""
    target = f"{upstream}/" if strips else upstream
    return f"location /energy/ {{ proxy_pass {target}; {prefix} }}"


@pytest.fixture(scope="module", params=["root-path", "root-path and stripped", "forwarded"])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Yield the address of a server behind nginx, in each way to set it up."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("nginx")
    root_path = None if request.param == "forwarded" else "/energy"
    with serving(data, root_path=root_path) as server:
        locations = forward(server, strips=request.param != "root-path")
        if request.param == "root-path and stripped":
            locations = locations.replace("proxy_set_header X-Forwarded-Prefix /energy;", "")
        with nginx(folder, locations) as url:
            yield f"{url}/energy"


def test_locations_have_the_prefix(address: str) -> None:
    with httpx.Client() as client:
        queued = client.post(f"{address}/v1/runs", content=npy(rows(2)), headers=NPY)
        assert queued.status_code == 202
        location = queued.headers["location"]
        assert location == f"/energy/v1/runs/{queued.json()['run_id']}"
        assert client.get(httpx.URL(address).join(location)).status_code == 200
        # Paths in answers are those of the API, whatever is in front of it.
        assert queued.json()["url"] == location.removeprefix("/energy")


def test_the_openapi_document_names_the_server(address: str) -> None:
    with httpx.Client() as client:
        answer = client.get(f"{address}/openapi.json")
        assert answer.json()["servers"] == [{"url": "/energy"}]
        again = client.get(
            f"{address}/openapi.json", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert again.status_code == 304


def test_pages_have_relative_addresses(address: str) -> None:
    with httpx.Client() as client:
        for path in ("/", "/docs"):
            page = client.get(address + path).text
            assert "/energy" not in page
            assert 'src="./assets/' in page
            assert 'src="/' not in page
            assert 'href="/' not in page


def test_the_client_works_through_the_proxy(address: str) -> None:
    with FlowClient(address) as client:
        result = client.simulate(rows(2))
        assert result.surface.shape[0] == 2
        assert result.run_id is not None
        np.testing.assert_array_equal(client.outputs(result.run_id), result.surface)
        assert client.wait(client.submit_run(rows(2)).run_id).state == "succeeded"


def test_a_server_without_a_proxy_is_found_at_its_root(tmp_path: Path) -> None:
    with serving(tmp_path, root_path="/energy") as server:
        client = server.client
        assert client.get("/livez").status_code == 200
        assert client.get("/energy/livez").status_code == 200
        # Else, the addresses of the page would be those of the folder above.
        assert client.get("/energy").headers["location"] == "/energy/"
        queued = client.post("/v1/runs", content=npy(rows(2)), headers=NPY)
        assert queued.headers["location"].startswith("/energy/v1/runs/")
        wait_until_ended(client, queued.json()["run_id"])


def test_what_is_checked_is_what_is_served(tmp_path: Path) -> None:
    rebound = {"Host": "evil.test", "Origin": "http://evil.test"}
    with serving(tmp_path / "open", root_path="/energy") as server:
        client = server.client
        # A probe is exempt from the check of the name; what has its path twice is none.
        for prefix, headers in (
            ("/energy/energy", {}),
            ("/v2/health/v2/health", {"X-Forwarded-Prefix": "/v2/health", **rebound}),
        ):
            answer = client.get(f"{prefix}/v1/runs", headers=headers)
            assert answer.status_code in (404, 421)
    with serving(tmp_path / "forwarded") as server:
        client = server.client
        answer = client.get(
            "/v2/health/v2/health/v1/runs",
            headers={"X-Forwarded-Prefix": "/v2/health", **rebound},
        )
        assert answer.status_code in (404, 421)
        twice = client.post(
            "/a/a/v2/logging", headers={"X-Forwarded-Prefix": "/a"}, json={"log_info": False}
        )
        assert twice.status_code == 404
        once = client.get("/a/v1/runs", headers={"X-Forwarded-Prefix": "/a"})
        assert once.status_code == 200


@pytest.mark.parametrize(
    "value",
    ["energy", "/..", "/a/../b", "/.", "/a b", "//other", "/x\u00e9", "/<b>", "/" + "a/" * 9],
)
def test_a_forwarded_prefix_that_is_no_path_is_ignored(client: httpx.Client, value: str) -> None:
    headers = {b"X-Forwarded-Prefix": value.encode()}
    document = client.get("/openapi.json", headers=headers).json()
    assert "servers" not in document


def test_a_root_path_that_is_no_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a path such as /energy"):
        Settings(data_dir=tmp_path, root_path="energy flow")
    assert Settings(data_dir=tmp_path, root_path="/energy/").root_path == "/energy"
