"""Fields of soft deposition and of the field along z, as options of runs and of sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from energy_flow import checkpoint
from tests.support.experiments import (
    put_dataset,
    read_trials,
    start_experiment,
    wait_until_ended,
)
from tests.support.servers import CONFIG, rows, serving

CELLS = 16
"""Of the lattice of the tiny model, 4 × 4."""
SOFT = {
    **CONFIG,
    "embedding_dim": CELLS,
    "mapper": "identity",
    "output_planes": "both",
    "energy_update": "residual",
    "aggregation_mode": "splat",
    "background": 0.3,
}
WIDE = np.tile(rows(2), 2)
"""Embeddings of that model."""
BYTES = {"accept": "application/octet-stream"}
NO_BACKGROUND = "aggregation_mode legacy has no background; set aggregation_mode to splat"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("fields")) as server:
        made = server.client.post("/v1/models", json={"name": "soft", "config": SOFT})
        assert made.status_code == 201, made.text
        put_dataset(server.client, "few", 3)
        yield server.client


def simulate(client: httpx.Client, **fields: Any) -> httpx.Response:
    embeddings = rows(2) if fields.get("model", "default") == "default" else WIDE
    return client.post("/v1/simulate", json={"embeddings": embeddings.tolist(), **fields})


def config_of(client: httpx.Client, run_id: str) -> dict[str, Any]:
    config: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()["config"]
    return config


def test_a_model_with_all_new_fields_is_made(client: httpx.Client) -> None:
    model = client.get("/v1/models/soft").json()
    assert {name: model["config"][name] for name in SOFT} == SOFT
    assert model["output_width"] == 2 * CELLS
    answer = simulate(client, model="soft", outputs=["embedding", "reached"]).json()
    assert np.shape(answer["outputs"]["embedding"]) == (2, 2 * CELLS)
    assert np.shape(answer["outputs"]["reached"]) == (2, 2, 4, 4)


def test_its_checkpoint_is_uploaded_again(client: httpx.Client, tmp_path: Path) -> None:
    content = client.get("/v1/models/soft", headers=BYTES).content
    answer = client.put("/v1/models/again", content=content)
    assert answer.status_code == 201, answer.text
    made = client.get("/v1/models/soft").json()
    for name in ("digest", "config", "output_width"):
        assert answer.json()[name] == made[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    here = checkpoint.load(path).simulate(WIDE, outputs=["planes"]).outputs["planes"]
    there = simulate(client, model="again", outputs=["planes"]).json()["outputs"]["planes"]
    np.testing.assert_array_equal(np.array(there, np.float32), here)


def test_soft_deposition_reaches_more_cells_than_are_hit(client: httpx.Client) -> None:
    outputs = ["surface", "hits", "reached"]
    answer = simulate(client, options={"aggregation_mode": "splat"}, outputs=outputs).json()
    arrays = {name: np.array(answer["outputs"][name]) for name in outputs}
    assert arrays["reached"].dtype == np.bool_
    assert np.all(arrays["reached"] >= (arrays["hits"] > 0))
    assert np.any(arrays["reached"] & (arrays["hits"] == 0))
    assert np.all(arrays["surface"][~arrays["reached"].any(1)] == 0)


def test_a_field_along_z_moves_exits(client: httpx.Client) -> None:
    still = {"noise_std": 0.0, "spawn.mode": "off"}
    lengths = [
        simulate(client, options={**still, "field_strength": strength}).json()["metrics"][
            "mean_path_length"
        ]
        for strength in (0.0, 50.0)
    ]
    assert lengths[1] > lengths[0]


@pytest.mark.parametrize("named", [{"background": 0.3}, {"background": 0}])
def test_a_background_with_another_mode_is_refused(
    client: httpx.Client, named: dict[str, float]
) -> None:
    for model in ("default", "soft"):
        answer = simulate(client, model=model, options={"aggregation_mode": "legacy", **named})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["loc"] == ["options", "background"]
        assert NO_BACKGROUND in error["msg"]
    # The mode may be that of the model.
    answer = simulate(client, options=named)
    assert answer.json()["errors"][0]["loc"] == ["options", "background"]


@pytest.mark.parametrize("mode", ["legacy", "weighted_v2"])
def test_a_run_with_another_mode_than_its_model_has_no_background(
    client: httpx.Client, mode: str
) -> None:
    answer = simulate(client, model="soft", options={"aggregation_mode": mode})
    assert answer.status_code == 200, answer.text
    config = config_of(client, answer.json()["run_id"])
    assert (config["aggregation_mode"], config["background"]) == (mode, None)
    kept = simulate(client, model="soft", options={"field_strength": 1.0}).json()
    assert config_of(client, kept["run_id"])["background"] == 0.3


def test_a_background_of_zero_gives_a_warning(client: httpx.Client) -> None:
    options = {"aggregation_mode": "splat", "background": 0}
    warnings = simulate(client, options=options).json()["warnings"]
    assert any(text.startswith("background = 0") for text in warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aggregation_mode": "splatt"}, "did you mean 'splat'?"),
        ({"aggregation_mode": "splat", "background": -1}, "at least 0"),
        ({"field_strength": 2e6}, "at most 1000000"),
        ({"mapper": "linear"}, "belongs to the model"),
        ({"output_dim": 4}, "belongs to the model"),
        ({"output_planes": "both"}, "belongs to the model"),
        ({"energy_update": "residual"}, "belongs to the model"),
    ],
)
def test_wrong_options_are_refused(
    client: httpx.Client, options: dict[str, Any], words: str
) -> None:
    answer = simulate(client, options=options)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("config", "place", "words"),
    [
        ({"mapper": "identity"}, "mapper", "embedding_dim must be lattice_width * lattice_height"),
        ({**SOFT, "output_dim": 3}, "output_dim", "which is 32"),
        ({**SOFT, "aggregation_mode": "legacy"}, "background", NO_BACKGROUND),
    ],
)
def test_wrong_models_are_refused(
    client: httpx.Client, config: dict[str, Any], place: str, words: str
) -> None:
    answer = client.post("/v1/models", json={"name": "wrong", "config": config})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["config", place]
    assert words in error["msg"]


def test_modes_and_fields_are_swept(client: httpx.Client) -> None:
    grid = {"aggregation_mode": ["splat", "legacy"], "field_strength": [0, 1.5]}
    start_experiment(client, name="modes", dataset="few", sweep={"grid": grid})
    assert wait_until_ended(client, "modes")["state"] == "succeeded"
    configs = [config_of(client, trial["run_id"]) for trial in read_trials(client, "modes")]
    found = [(config["aggregation_mode"], config["field_strength"]) for config in configs]
    assert found == [("splat", 0), ("splat", 1.5), ("legacy", 0), ("legacy", 1.5)]


def test_a_background_is_swept(client: httpx.Client) -> None:
    start_experiment(
        client,
        name="backgrounds",
        dataset="few",
        options={"aggregation_mode": "splat"},
        sweep={"random": {"background": {"low": 0.01, "high": 1.0, "log": True}}, "count": 3},
    )
    assert wait_until_ended(client, "backgrounds")["state"] == "succeeded"
    drawn = [trial["parameters"]["background"] for trial in read_trials(client, "backgrounds")]
    assert all(0.01 <= value <= 1.0 for value in drawn)
    assert len(set(drawn)) == 3


def test_a_sweep_with_a_background_in_another_mode_is_refused_at_its_place(
    client: httpx.Client,
) -> None:
    modes = ["splat", "legacy"]
    for sweep, options, place in (
        ({"aggregation_mode": modes, "background": [0.1]}, {}, ["background", 0]),
        ({"aggregation_mode": modes}, {"background": 0.2}, ["aggregation_mode", 1]),
    ):
        fields = {"name": "wrong", "dataset": "few", "sweep": {"grid": sweep}, "options": options}
        answer = client.post("/v1/experiments", json=fields)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["loc"] == ["sweep", "grid", *place]
        assert NO_BACKGROUND in error["msg"]
