"""A database that is gone, full, or takes no changes is refused as such, and comes back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from benchmarks.postgres_cluster import UNSAFE, PostgresCluster, give_to_postgres, postgres_cluster
from tests.support.disks import fill as fill_disk
from tests.support.disks import mounted
from tests.support.experiments import (
    advance,
    experiment_server,
    put_dataset,
    start_experiment,
)
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.postgres_sessions import execute
from tests.support.servers import queue, serving, wait_until_ended
from tests.support.waits import until

pytestmark = pytest.mark.slow

_NUMBERS = count()


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PostgresCluster]:
    """Return a PostgreSQL that tests stop and start."""
    with postgres_cluster(UNSAFE) as cluster:
        yield cluster


@pytest.fixture
def own_url(own_cluster: PostgresCluster) -> str:
    name = f"failing_{next(_NUMBERS)}"
    own_cluster.execute(f"CREATE DATABASE {name}")
    return own_cluster.url(name)


def wait_until_ready(client: httpx.Client) -> None:
    until(lambda: client.get("/readyz").status_code == 200)


def create_model(client: httpx.Client, name: str) -> int:
    return client.post("/v1/models", json={"name": name}).status_code


def test_a_server_goes_on_after_a_restart_of_the_database(
    tmp_path: Path, own_cluster: PostgresCluster, own_url: str
) -> None:
    with serving(tmp_path, database_url=own_url) as server:
        client = server.client
        assert wait_until_ended(client, queue(client, 3))["state"] == "succeeded"
        own_cluster.stop()
        refused = client.get("/v1/runs")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["title"] == "Index unreachable"
        # Who may not see hosts and users asks for readiness too.
        assert "127.0.0.1" not in refused.text
        until(lambda: client.get("/readyz").status_code == 503)
        assert "the database of the index" in client.get("/readyz").json()["detail"]
        assert client.get("/livez").status_code == 200
        assert create_model(client, "a") == 503
        own_cluster.start()
        wait_until_ready(client)
        assert create_model(client, "a") == 201
        assert wait_until_ended(client, queue(client, 3))["state"] == "succeeded"


def test_an_experiment_waits_for_the_database(
    tmp_path: Path, own_cluster: PostgresCluster, own_url: str
) -> None:
    with experiment_server(tmp_path, database_url=own_url) as server:
        client = server.client
        put_dataset(client, "words", 4)
        with server.engine_held() as engine:
            fields = {"dataset": "words", "seeds": [1, 2, 3], "chunk_samples": 1}
            name = start_experiment(client, name="sweep", max_parallel=1, **fields)["name"]
            advance(client, engine, name, 1)
            own_cluster.stop()
        until(lambda: client.get("/readyz").status_code == 503)
        own_cluster.start()
        assert wait_for_experiment(client, name)["state"] == "succeeded"


def test_a_server_stops_while_it_waits_for_the_database(
    tmp_path: Path, own_cluster: PostgresCluster, own_url: str
) -> None:
    with serving(tmp_path, database_url=own_url) as server:
        with server.engine_held():
            run_id = queue(server.client, 3)
            own_cluster.stop()
        server.stop()
        own_cluster.start()
    with serving(tmp_path, database_url=own_url) as server:
        assert wait_until_ended(server.client, run_id)["state"] in ("succeeded", "failed")


def test_a_server_does_not_start_without_the_database(
    tmp_path: Path, own_cluster: PostgresCluster, own_url: str
) -> None:
    own_cluster.stop()
    with serving(tmp_path, database_url=own_url, wait=False) as server:
        server.thread.join()
        assert "cannot be reached" in str(server.server.service.failure)
    own_cluster.start()


def test_a_database_that_takes_no_changes_is_unreachable(
    tmp_path: Path, own_cluster: PostgresCluster, own_url: str
) -> None:
    database = make_url(own_url).database
    end_sessions = (
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    )
    with serving(tmp_path, database_url=own_url) as server:
        client = server.client
        setting = f"ALTER DATABASE {database} SET default_transaction_read_only"
        execute(own_cluster.url(), f"{setting} = on")
        execute(own_cluster.url(), end_sessions)

        def find_refusal() -> httpx.Response | None:
            # Before that, the connections are made again.
            answer = client.post("/v1/models", json={"name": "a"})
            return answer if "takes no changes" in answer.text else None

        refused = until(find_refusal)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert client.get("/v1/models").status_code == 200
        execute(own_cluster.url(), f"{setting} = off")
        execute(own_cluster.url(), end_sessions)
        until(lambda: create_model(client, "a") == 201)


def test_a_full_disk_of_the_database_is_507(tmp_path: Path, cluster: PostgresCluster) -> None:
    with mounted(cluster.folder / "small", "40m") as disk:
        give_to_postgres(disk)
        cluster.execute(
            f"CREATE TABLESPACE small LOCATION '{disk}'",
            "CREATE DATABASE on_a_small_disk TABLESPACE small",
        )
        with serving(tmp_path, database_url=cluster.url("on_a_small_disk")) as server:
            client = server.client
            run_id = queue(client, 3)
            assert wait_until_ended(client, run_id)["state"] == "succeeded"
            fill_disk(disk / "filler")

            def change_note() -> httpx.Response:
                note = random.randbytes(4000).hex()
                return client.patch(f"/v1/runs/{run_id}", json={"note": note})

            refused = until(lambda: answer if (answer := change_note()).is_error else None)
            assert (refused.status_code, refused.json()["title"]) == (507, "Disk full")
            readiness = client.get("/readyz")
            assert readiness.status_code == 503
            assert "the disk of the database" in readiness.json()["detail"]
            assert client.get(f"/v1/runs/{run_id}").status_code == 200
            assert client.delete(f"/v1/runs/{run_id}").status_code == 204
            (disk / "filler").unlink()
            wait_until_ready(client)
            assert create_model(client, "after") == 201
        cluster.execute("DROP DATABASE on_a_small_disk WITH (FORCE)", "DROP TABLESPACE small")
