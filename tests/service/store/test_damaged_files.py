"""Files that were damaged on the disk: no request uses them, and each states which file it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load, save

from tests.support.command_line import Caller
from tests.support.damage import (
    DAMAGES,
    HEADER_CHANGES,
    Damage,
    change_header,
    damaged,
    flip,
)
from tests.support.experiments import (
    advance,
    experiment_server,
    put_dataset,
    start_experiment,
    wait_for_state,
)
from tests.support.servers import (
    CONFIG,
    RunningServer,
    queue,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.stored_rows import change_rows
from tests.support.waits import until

pytestmark = pytest.mark.slow

BYTES = {"accept": "application/octet-stream"}

ROWS = 4000
"""Rows of the dataset, of which two pieces are needed."""

TRAINING = {
    "losses": {"cosine": {"weight": 1.0}},
    "batch.rows": 8,
    "length.steps": 4,
    "validation.every": 2,
    "checkpoints.every": 2,
}


def put(client: httpx.Client, name: str, tensors: dict[str, Any]) -> httpx.Response:
    """Store a dataset."""
    url = f"/v1/datasets/{name}?format=safetensors"
    answer = client.put(url, content=save(tensors))
    assert answer.status_code == 201, answer.text
    return answer


@dataclass
class Stored:
    """A server with a thing of every kind, and the names of its files.

    Attributes:
        server: The server.
        run_id: Id of a run with all files.
        training: Id of the run of a training.
        dataset: Path of the file of the dataset ``pairs``.
    """

    server: RunningServer
    run_id: str
    training: str
    dataset: Path

    @property
    def client(self) -> httpx.Client:
        return self.server.client

    def path(self, name: str) -> Path:
        return self.server.data_dir / name


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with serving(tmp_path_factory.mktemp("damaged")) as server:
        client = server.client
        pairs = {"inputs": rows(ROWS), "targets": rows(ROWS, seed=1)}
        sent = put(client, "pairs", pairs)
        made = client.post("/v1/models", json={"name": "made", "config": CONFIG})
        assert made.status_code == 201, made.text
        outputs = ["surface", "hits", "reached"]
        run_id = queue(client, 3, outputs=outputs, sample_keys=[5, 6, 7])
        wait_until_ended(client, run_id)
        start_experiment(
            client, name="trained", kind="train", dataset="pairs", rows=[0, 40], train=TRAINING
        )
        wait_for_state(client, "trained", "succeeded")
        trial = client.get("/v1/experiments/trained/trials/0").json()
        digest = sent.json()["digest"]
        dataset = server.data_dir / "datasets" / f"{digest}.safetensors"
        yield Stored(server, run_id, trial["run_id"], dataset)


READERS = {
    "surface.npy": (
        "/outputs/surface",
        "/outputs/surface?format=npy",
        "/outputs/surface?format=safetensors",
        "/outputs/surface?format=png&sample=1",
        "/outputs/surface?sample=2",
        "/compare/SELF",
    ),
    "hits.npy": ("/outputs/hits",),
    "reached.npy": ("/outputs/reached", "/outputs/surface?format=png&sample=0"),
    "trace.parquet": (
        "/trace",
        "/trace?format=ndjson",
        "/trace?format=perfetto",
        "/trace?format=arrow&sample=1",
        "/trace?format=csv&limit=100000",
        "/compare/SELF",
        "/replay",
    ),
    "chunks.jsonl": ("/samples", "/replay"),
    "memory.json": ("/memory",),
    "profile.json": ("/profile",),
    "inputs.npy": ("/inputs", "/inputs?format=npy&sample=2", "/replay"),
    "sample_keys.npy": ("/replay",),
}
"""Requests that need a file of a run, by its name."""


def read(client: httpx.Client, run_id: str, path: str) -> httpx.Response:
    url = f"/v1/runs/{run_id}{path}".replace("SELF", run_id)
    return client.post(url, json={"sample": 0}) if path == "/replay" else client.get(url)


def assert_damage(answer: httpx.Response, file: str) -> None:
    assert answer.status_code == 409, answer.text
    refusal = answer.json()
    assert refusal["type"] == "urn:energy-flow:problem:damaged-file"
    assert refusal["file"] == file
    assert f"the file {file} in the server's data directory is damaged" in refusal["detail"]
    assert "restore" in refusal["detail"]


@pytest.fixture(params=list(DAMAGES.values()), ids=list(DAMAGES))
def damage(request: pytest.FixtureRequest) -> Damage:
    damage: Damage = request.param
    return damage


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_of_a_run_is_refused(stored: Stored, damage: Damage, name: str) -> None:
    file = f"runs/{stored.run_id}/{name}"
    for path in READERS[name]:
        sound = read(stored.client, stored.run_id, path)
        assert sound.status_code == 200, (path, sound.text)
        with damaged(stored.path(file), damage):
            assert_damage(read(stored.client, stored.run_id, path), file)
        assert read(stored.client, stored.run_id, path).status_code == 200


UNREADABLE = [
    pytest.param(damage, name, id=f"{name}-{kind}")
    for name in READERS
    for kind, damage in DAMAGES.items()
    # Without digests nothing shows changed bytes, or that a run had keys of its own.
    if damage is not flip and (name, damage) != ("sample_keys.npy", Path.unlink)
]


@pytest.mark.parametrize(("damage", "name"), UNREADABLE)
def test_an_unreadable_file_of_a_run_without_digests_is_refused(
    stored: Stored, damage: Damage, name: str
) -> None:
    data_dir = stored.server.data_dir
    known = stored.server.server.service.archive.catalog.find_digests(stored.run_id)
    change_rows(data_dir, "runs", where={"run_id": stored.run_id}, digests=None)
    try:
        file = f"runs/{stored.run_id}/{name}"
        for path in READERS[name]:
            assert read(stored.client, stored.run_id, path).status_code == 200
            with damaged(stored.path(file), damage):
                answer = read(stored.client, stored.run_id, path)
            assert_damage(answer, file)
    finally:
        change_rows(data_dir, "runs", where={"run_id": stored.run_id}, digests=known)


def change_json(change: Callable[[Any], Any]) -> Damage:
    """Return damage that leaves JSON of another form."""

    def damage(path: Path) -> None:
        path.write_bytes(orjson.dumps(change(orjson.loads(path.read_bytes()))) + b"\n")

    return damage


def change_member(*names: str | int, to: Any) -> Damage:
    """Return damage to one member of a document."""

    def change(document: Any) -> Any:
        place = document
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = to
        return document

    return change_json(change)


def change_trace(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Return damage that leaves a sound Parquet file."""

    def damage(path: Path) -> None:
        pq.write_table(change(pq.read_table(path)), path)

    return damage


def set_column(name: str, values: Callable[[pa.Table], Any]) -> Damage:
    """Return damage to one column of a trace."""
    return change_trace(
        lambda table: table.set_column(
            table.schema.get_field_index(name), name, pa.array(values(table))
        )
    )


OTHER_FORMS = {
    "chunks.jsonl": {
        "a list": change_json(lambda _: [1, 2]),
        "a number": change_json(lambda _: 1),
        "numbers as samples": change_json(lambda _: {"samples": [1, 2]}),
        "no sums": change_json(lambda line: {k: v for k, v in line.items() if k != "sums"}),
        "fewer samples": change_json(lambda line: {**line, "samples": line["samples"][:1]}),
        "other samples": change_member("first_sample", to=1),
        "text for a number": change_member("samples", 1, "steps", to="4"),
        "a fraction": change_member("samples", 1, "steps", to=4.5),
        "a vast number": change_member("samples", 1, "created", to=2**63),
        "other kinds": change_member("trace", "recorded", to={"spawn": 1}),
        "a narrow list": change_member("counts", 0, to=[1, 2]),
        "fewer lines": lambda path: path.write_bytes(b""),
    },
    "memory.json": {
        "a list": change_json(lambda _: []),
        "null": change_json(lambda _: None),
        "no steps": change_json(lambda known: {k: v for k, v in known.items() if k != "steps"}),
        "text for a number": change_member("host", "rss_bytes", to="many"),
    },
    "profile.json": {
        "a list": change_json(lambda _: []),
        "no steps": change_member("step_metrics", to={}),
        "numbers as steps": change_member("step_metrics", to=[1]),
    },
    "trace.parquet": {
        "other columns": change_trace(lambda table: table.drop_columns(["energy"])),
        "fewer records": change_trace(lambda table: table.slice(0, len(table) - 1)),
        "another order": change_trace(lambda table: table.take(list(range(len(table)))[::-1])),
        "wider numbers": set_column("flow", lambda table: table["flow"].cast(pa.float64())),
        "missing numbers": set_column("x", lambda table: pa.nulls(len(table), pa.float32())),
        "other kinds": set_column(
            "kind", lambda table: pa.array(["left"] * len(table)).dictionary_encode()
        ),
        "other planes": set_column("plane", lambda table: pa.array([9] * len(table), pa.int8())),
    },
    "surface.npy": HEADER_CHANGES,
    "inputs.npy": {name: HEADER_CHANGES[name] for name in ("other numbers", "other axes")},
    "sample_keys.npy": {
        "other numbers": change_header(descr="<f8"),
        "other axes": change_header(shape=(1, 3)),
    },
}


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, forms in OTHER_FORMS.items() for form in forms]
)
def test_a_file_of_another_form_of_a_run_without_digests_is_refused(
    stored: Stored, name: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir, damage = stored.server.data_dir, OTHER_FORMS[name][form]
    known = stored.server.server.service.archive.catalog.find_digests(stored.run_id)
    change_rows(data_dir, "runs", where={"run_id": stored.run_id}, digests=None)
    file = f"runs/{stored.run_id}/{name}"
    try:
        with damaged(stored.path(file), damage):
            for path in READERS[name]:
                assert_damage(read(stored.client, stored.run_id, path), file)
            found = Caller(capsys)("data", "verify", "--data-dir", data_dir, "--json")
            findings = orjson.loads(found.stdout)["findings"]
            assert [finding["file"] for finding in findings] == [file]
    finally:
        change_rows(data_dir, "runs", where={"run_id": stored.run_id}, digests=known)


def test_damaged_curves_are_refused(stored: Stored, damage: Damage) -> None:
    file = f"runs/{stored.training}/training/events.jsonl"
    url = "/v1/experiments/trained/trials/0/curves"
    assert stored.client.get(url).status_code == 200
    with damaged(stored.path(file), damage):
        assert_damage(stored.client.get(url), file)


def test_rows_of_a_damaged_dataset_are_not_used(stored: Stored, damage: Damage) -> None:
    client = stored.client
    file = f"datasets/{stored.dataset.name}"
    request = {"dataset": "pairs", "rows": [3970, 4000]}
    earlier = client.post("/v1/runs", json=request).json()["run_id"]
    wait_until_ended(client, earlier)
    with damaged(stored.dataset, damage):
        assert_damage(client.get(f"/v1/runs/{earlier}/inputs"), file)
        posted = client.post("/v1/runs", json=request)
        assert posted.status_code == 202
        run = wait_until_ended(client, posted.json()["run_id"])
        assert run["state"] == "failed"
        assert (run["error"]["status"], run["error"]["file"]) == (409, file)
        assert_damage(client.get("/v1/datasets/pairs", headers=BYTES), file)
        started = client.post("/v1/models/default/ablations", json={"dataset": "pairs"})
        assert started.status_code == 202, started.text
        ablation = wait_for_ablation(client, started.json()["url"])
        assert (ablation["state"], ablation["error"]["file"]) == ("failed", file)
    assert client.get("/v1/datasets/pairs", headers=BYTES).status_code == 200


def wait_for_ablation(client: httpx.Client, url: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        ablation: dict[str, Any] = client.get(url).json()
        return ablation if ablation["state"] in ("succeeded", "failed") else None

    found: dict[str, Any] = until(look)
    return found


def test_sound_rows_of_a_damaged_dataset_can_be_used(stored: Stored) -> None:
    client = stored.client
    with damaged(stored.dataset, lambda path: flip(path, 0.9)):
        posted = client.post("/v1/runs", json={"dataset": "pairs", "rows": [0, 30]})
        run_id = posted.json()["run_id"]
        assert wait_until_ended(client, run_id)["state"] == "succeeded"
        assert client.get(f"/v1/runs/{run_id}/inputs").status_code == 200


def test_the_description_of_a_run_can_be_written_again(
    stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    description = stored.path(f"runs/{stored.run_id}/run.json")
    for change in (lambda path: path.write_bytes(path.read_bytes() + b"\n"), Path.unlink):
        with damaged(description, change):
            done = Caller(capsys)("data", "verify", "--data-dir", stored.server.data_dir)
            assert done.returncode == 0, done.stdout


def test_an_experiment_waits_for_its_dataset(stored: Stored, damage: Damage) -> None:
    client = stored.client
    name = f"waiting-{damage.__name__}"
    for kind, fields in (("simulate", {}), ("train", {"train": TRAINING})):
        named = f"{name}-{kind}"
        with damaged(stored.dataset, damage):
            start_experiment(
                client, name=named, kind=kind, dataset="pairs", rows=[3960, 4000], **fields
            )
            error = wait_for_state(client, named, "paused", "failed", "succeeded")["error"]
            assert error["file"] == f"datasets/{stored.dataset.name}"
        assert client.post(f"/v1/experiments/{named}/resume").status_code == 200
        wait_for_state(client, named, "succeeded")


def test_a_dataset_of_an_earlier_version_gets_its_digests_from_a_sound_file(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as first:
        digest = put(first.client, "d", {"inputs": rows(ROWS)}).json()["digest"]
    change_rows(tmp_path, "dataset_contents", pieces=None)
    path = tmp_path / "datasets" / f"{digest}.safetensors"
    request = {"dataset": "d", "rows": [0, 2]}
    with serving(tmp_path) as second:
        client = second.client
        # Its digest is that of the whole file, so the rows that are read do not matter.
        with damaged(path, lambda path: flip(path, 0.9)):
            run = client.post("/v1/runs", json=request).json()
            run = wait_until_ended(client, run["run_id"])
            assert run["error"]["file"] == f"datasets/{path.name}"
        run = client.post("/v1/runs", json=request).json()
        assert wait_until_ended(client, run["run_id"])["state"] == "succeeded"
    with serving(tmp_path) as third, damaged(path, lambda path: flip(path, 0.9)):
        # Now the pieces have digests: those of the rows are right.
        run = third.client.post("/v1/runs", json=request).json()
        assert wait_until_ended(third.client, run["run_id"])["state"] == "succeeded"


def test_damaged_inputs_of_a_queued_run_are_not_used(tmp_path: Path, damage: Damage) -> None:
    with serving(tmp_path) as server:
        with server.engine_held():
            run_id = queue(server.client, 2)
            damage(tmp_path / "runs" / run_id / "inputs.npy")
        run = wait_until_ended(server.client, run_id)
    assert run["state"] == "failed"
    assert run["error"]["status"] == 409
    assert run["error"]["file"] == f"runs/{run_id}/inputs.npy"


def test_a_damaged_checkpoint_is_not_downloaded(stored: Stored, damage: Damage) -> None:
    path = stored.path("models/made.safetensors")
    sound = stored.client.get("/v1/models/made", headers=BYTES)
    assert sound.status_code == 200
    with damaged(path, damage):
        answer = stored.client.get("/v1/models/made", headers=BYTES)
        assert answer.status_code == 409
        assert "upload the original checkpoint again" in answer.json()["detail"]
    assert stored.client.get("/v1/models/made", headers=BYTES).content == sound.content


def test_the_checkpoint_of_the_default_model_is_written_again(
    stored: Stored, damage: Damage
) -> None:
    sound = load(stored.client.get("/v1/models/default", headers=BYTES).content)
    (path,) = stored.path("models").glob(".default-*.safetensors")
    damage(path)
    answer = stored.client.get("/v1/models/default", headers=BYTES)
    assert answer.status_code == 200
    again = load(answer.content)
    assert all(np.array_equal(again[name], sound[name]) for name in sound)


def test_an_edited_checkpoint_is_a_new_model(stored: Stored) -> None:
    sound = stored.client.get("/v1/models/made", headers=BYTES).content
    header = orjson.loads(sound[8 : 8 + int.from_bytes(sound[:8], "little")])
    tensors = load(sound)
    name = min(tensors)
    tensors[name] = tensors[name] + np.float32(0.01)
    edited = save(tensors, metadata=header["__metadata__"])
    assert stored.client.put("/v1/models/edited", content=edited).status_code == 201
    digests = {
        stored.client.get(f"/v1/models/{one}").json()["digest"] for one in ("made", "edited")
    }
    assert len(digests) == 2


def test_verify_finds_every_damaged_file(
    stored: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Caller(capsys)
    data_dir = stored.server.data_dir
    sound = call("data", "verify", "--data-dir", data_dir)
    assert (sound.returncode, sound.stdout.splitlines()[-1].endswith(": 0 damaged")) == (0, True)
    # In the order in which they are read.
    ordered = sorted(
        f"runs/{run_id}/{name}"
        for run_id, names in (
            (stored.run_id, READERS),
            (stored.training, ("training/events.jsonl",)),
        )
        for name in names
    )
    files = [f"datasets/{stored.dataset.name}", "models/made.safetensors", *ordered]
    for damage in DAMAGES.values():
        kept = {name: stored.path(name).read_bytes() for name in files}
        for name in files:
            damage(stored.path(name))
        found = call("data", "verify", "--data-dir", data_dir, "--json")
        for name, content in kept.items():
            stored.path(name).write_bytes(content)
        assert found.returncode == 1, found.stderr
        assert found.stdout, found.stderr
        findings = orjson.loads(found.stdout)["findings"]
        assert [finding["file"] for finding in findings] == files
        assert all(finding["why"] and finding["advice"] for finding in findings)
    assert call("data", "verify", "--data-dir", data_dir).returncode == 0


def test_verify_finds_a_damaged_line_of_an_unfinished_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Caller(capsys)
    with experiment_server(tmp_path) as server:
        client = server.client
        put_dataset(client, "some", 60)
        with server.engine_held() as engine:
            start_experiment(client, name="swept", dataset="some", seeds=[1], chunk_samples=4)
            advance(client, engine, "swept", 12)
            assert client.post("/v1/experiments/swept/pause").status_code == 200

        def read_paused() -> dict[str, Any] | None:
            trial: dict[str, Any] = client.get("/v1/experiments/swept/trials/0").json()
            return trial if trial["state"] == "paused" else None

        run_id = until(read_paused)["run_id"]
        sound = call("data", "verify", "--data-dir", tmp_path)
        assert sound.returncode == 0, sound.stdout
        assert "1 dataset, 0 models and 1 run, " in sound.stdout
        chunks = tmp_path / "runs" / run_id / "chunks.jsonl"
        first, *others = chunks.read_bytes().splitlines(keepends=True)
        assert others
        chunks.write_bytes(b"".join((first, b"no JSON\n", *others)))
        found = call("data", "verify", "--data-dir", tmp_path)
        assert found.returncode == 1
        line, last = found.stdout.splitlines()
        assert line.startswith(f"runs/{run_id}/chunks.jsonl: line 2 is no JSON")
        assert last.endswith(": 1 damaged")
        assert_damage(client.get(f"/v1/runs/{run_id}/samples"), f"runs/{run_id}/chunks.jsonl")
        # The advice is true.
        assert "a trial computes them again" in line
        assert client.post("/v1/experiments/swept/resume").status_code == 200
        wait_for_state(client, "swept", "succeeded")
        assert call("data", "verify", "--data-dir", tmp_path).returncode == 0


def test_verify_refuses_what_is_no_data_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Caller(capsys)
    missing = call("data", "verify", "--data-dir", tmp_path / "none")
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr
    without_index = call("data", "verify", "--data-dir", tmp_path)
    assert without_index.returncode == 1
    assert "index.sqlite3: it does not exist" in without_index.stdout
    assert not list(tmp_path.iterdir())
