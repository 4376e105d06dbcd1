"""``FakeFlowServer``: what the clients receive from it, compared with the schemas of the server."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest

from energy_flow.choices import Output, RunState, names_of
from energy_flow.client import AsyncFlowClient, Conflict, NotFound, ServerFailure, Unprocessable
from energy_flow.simulation.tally.outputs import output_shape
from energy_flow.testing import (
    FakeFlowServer,
    ScriptedServer,
    run_document,
    simulation_document,
    tiny_config,
    tiny_embeddings,
)
from service.schemas.run import RunPage, RunView
from service.schemas.simulate import EstimateAnswer, SimulateAnswer

SURFACE = np.arange(6.0).reshape(2, 3)


def test_a_simulation_has_the_chosen_outputs_for_every_row() -> None:
    server = FakeFlowServer({"surface": SURFACE, "hits": np.ones((2, 2, 3))})
    with server.client() as client:
        result = client.simulate(
            tiny_embeddings(5), outputs=["surface", "hits"], seed=7, sample_keys=range(10, 15)
        )
        assert client.run(str(result.run_id)).state == "succeeded"
    assert result.surface.dtype == np.float32
    np.testing.assert_array_equal(result.surface, np.tile(SURFACE, (5, 1, 1)))
    assert result.outputs["hits"].dtype == np.int32
    assert result.seed == 7
    assert [sample["sample_key"] for sample in result.samples] == list(range(10, 15))
    assert len(result.trace) == 0


def test_every_output_has_a_default() -> None:
    with FakeFlowServer().client() as client:
        result = client.simulate(tiny_embeddings(2), outputs=names_of(Output))
    shapes = {name: array.shape[1:] for name, array in result.outputs.items()}
    assert shapes == {name: output_shape(name, tiny_config()) for name in names_of(Output)}
    dtypes = {name: str(array.dtype) for name, array in result.outputs.items()}
    assert dtypes == {output.value: output.dtype for output in Output}
    np.testing.assert_array_equal(result.outputs["reached"], result.outputs["hits"] > 0)


def test_booleans_can_be_chosen_and_read_again() -> None:
    reached = np.zeros((2, 2, 3), bool)
    reached[1, 0, 2] = True
    with FakeFlowServer({"reached": reached}).client() as client:
        result = client.simulate(tiny_embeddings(2), outputs=["reached"])
        stored = client.outputs(str(result.run_id), "reached")
    for array in (result.outputs["reached"], stored):
        assert array.dtype == np.bool_
        np.testing.assert_array_equal(array, np.stack((reached, reached)))


def test_counts_balance() -> None:
    with FakeFlowServer().client() as client:
        metrics = client.simulate(tiny_embeddings()).metrics
    assert metrics.created == metrics.initial + metrics.spawned
    assert metrics.created == metrics.completed + metrics.stalled
    assert sum(metrics.terminated.values()) == metrics.created
    assert sum(metrics.planes.values()) == metrics.completed
    exits = [count for reasons in metrics.exits.values() for count in reasons.values()]
    assert sum(exits) == metrics.completed


def test_a_run_has_its_states_one_after_the_other() -> None:
    states: list[str] = []
    with FakeFlowServer().client() as client:
        run = client.submit_run(tiny_embeddings(4))
        assert run.state == "queued"
        with pytest.raises(Conflict):
            client.outputs(run.run_id)
        run = client.wait(run.run_id, lambda run: states.append(run.state))
        assert run.state == "succeeded"
        assert run.progress.samples_done == 4
        assert client.outputs(run.run_id).shape == (4, 4, 4)
        assert len(client.trace(run.run_id)) == 0
        assert client.memory(run.run_id).steps == ()
        assert len(list(client.samples(run.run_id))) == 4
        assert [found.run_id for found in client.runs()] == [run.run_id]
        client.delete_run(run.run_id)
        with pytest.raises(NotFound):
            client.run(run.run_id)
    assert states == ["running", "succeeded"]


def test_a_failed_run_has_a_problem() -> None:
    with FakeFlowServer(states=["queued", "failed"]).client() as client:
        run = client.wait(client.submit_run(tiny_embeddings()).run_id)
    assert isinstance(run.problem, ServerFailure)


def test_a_cancelled_run_is_not_continued() -> None:
    with FakeFlowServer().client() as client:
        run = client.submit_run(dataset="words", rows=(2, 6))
        assert run.progress.samples == 4
        assert client.cancel(run.run_id).state == "cancelled"
        assert client.run(run.run_id).state == "cancelled"
        with pytest.raises(Conflict):
            client.cancel(run.run_id)


def test_events_are_the_states_and_can_be_resumed() -> None:
    with FakeFlowServer().client() as client:
        run = client.submit_run(tiny_embeddings())
        events = list(client.events(run.run_id))
        assert [event.data["state"] for event in events] == ["queued", "running", "succeeded"]
        assert list(client.events(run.run_id, last_event_id=events[0].id)) == events[1:]


def test_requests_are_recorded_and_refused_on_demand() -> None:
    server = FakeFlowServer(embedding_dim=8)
    server.refuse_next(503, {"Retry-After": "0"})
    with server.client() as client:
        assert client.system()["state"] == "ready"
        assert [request.url.path for request in server.requests] == ["/v1/system"] * 2
        server.refuse_next(404, detail="no model 'large'")
        with pytest.raises(NotFound, match="no model 'large'"):
            client.simulate(tiny_embeddings(), model="large")
        with pytest.raises(Unprocessable, match="rows of 8 numbers"):
            client.simulate([[1.0, 2.0]])
        with pytest.raises(Unprocessable, match="outputs must be among"):
            client.simulate(tiny_embeddings(), outputs=["other"])
        with pytest.raises(NotFound, match="the fake server has no GET /v1/models"):
            list(client.models())


def test_the_asynchronous_client_receives_the_same() -> None:
    async def simulate(client: AsyncFlowClient) -> Any:
        async with client:
            assert await client.ready()
            return (await client.simulate(tiny_embeddings(), store=False)).data

    server = FakeFlowServer()
    with server.client() as client:
        expected = client.simulate(tiny_embeddings(), store=False).data
    found = asyncio.run(simulate(server.async_client()))
    assert {**found, "run_id": None} == {**expected, "run_id": None}


@pytest.mark.parametrize("state", list(RunState))
def test_documents_of_runs_match_the_schema_of_the_server(state: RunState) -> None:
    assert set(RunView.model_fields) == set(run_document(state))
    RunView.model_validate(run_document(state))


def test_answers_match_the_schemas_of_the_server() -> None:
    documents: list[Any] = []

    def record(response: httpx.Response) -> None:
        response.read()
        documents.append(response.json())

    SimulateAnswer.model_validate(simulation_document({"surface": np.zeros((2, 4, 4))}))
    with httpx.Client(transport=FakeFlowServer().transport, base_url="http://server") as client:
        client.event_hooks["response"].append(record)
        body = {"dataset": "words", "rows": [0, 2]}
        client.post("/v1/simulate", json=body)
        client.post("/v1/simulate", params={"dry_run": "true"}, json=body)
        client.post("/v1/runs", json=body)
        client.get("/v1/runs")
    simulation, estimate, run, page = documents
    SimulateAnswer.model_validate(simulation)
    EstimateAnswer.model_validate(estimate)
    RunView.model_validate(run)
    RunPage.model_validate(page)


def test_a_scripted_server_without_further_answers_names_the_request() -> None:
    with (
        ScriptedServer().client() as client,
        pytest.raises(AssertionError, match=r"request 1, GET /v1/system"),
    ):
        client.system()
