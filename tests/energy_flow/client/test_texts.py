"""Texts in the place of embeddings: encoded here, checked before, and the same as embeddings."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import (
    AsyncFlowClient,
    EmbeddingError,
    EncoderUnavailable,
    FlowClient,
    NotFound,
    TextEncoder,
)
from energy_flow.testing import TINY_FIELDS, FakeFlowServer
from tests.support.live_server import LiveServer
from tests.support.text_model import WIDTH, LetterEncoder, save_text_model

TEXTS = ["a bad cab", "deed", "a fed hedge"]


class Fixed:
    """An encoder that returns what it is given."""

    def __init__(self, returned: Any) -> None:
        self._returned = returned

    def encode(self, texts: list[str]) -> Any:
        del texts
        return self._returned


class Sized(LetterEncoder):
    """An encoder that knows the numbers of its embeddings before it encodes."""

    def get_embedding_dimension(self) -> int:
        return 5


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="module")
def wide_model(shared_server: LiveServer) -> Iterator[str]:
    """Return the name of a model of the server that takes what the text model gives."""
    with FlowClient(shared_server.url) as client:
        config = {**TINY_FIELDS, "embedding_dim": WIDTH}
        client.create_model("for-texts", config=config)
        yield "for-texts"
        client.delete_model("for-texts")


def same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    return left.tobytes() == right.tobytes()


def test_texts_give_what_their_embeddings_give(client: FlowClient) -> None:
    encoder = LetterEncoder()
    expected = client.simulate(encoder.encode(TEXTS), seed=3)
    assert same(client.simulate(texts=TEXTS, encoder=encoder, seed=3).surface, expected.surface)
    submitted = client.submit_run(texts=TEXTS, encoder=encoder, seed=3)
    run = client.wait(submitted.run_id)
    assert same(client.outputs(run.run_id, "surface"), expected.surface)
    rows = encoder.encode(TEXTS).astype(np.float32)
    np.testing.assert_array_equal(client.inputs(run.run_id), rows, strict=True)
    assert client.dry_run(texts=TEXTS, encoder=encoder).flows == expected.metrics.initial


def test_a_model_by_its_folder_is_loaded_once(
    client: FlowClient, wide_model: str, model_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "words")
    first = client.simulate(texts=TEXTS, encoder=folder, model=wide_model)
    rows = TextEncoder(str(model_folder)).encode(TEXTS)
    assert rows.shape == (3, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert same(client.simulate(rows, model=wide_model).surface, first.surface)
    shutil.rmtree(folder)
    again = client.simulate(texts=TEXTS, encoder=str(folder), model=wide_model)
    assert same(again.surface, first.surface)
    with FlowClient(client.url) as other, pytest.raises(EncoderUnavailable, match="does not exist"):
        other.simulate(texts=TEXTS, encoder=folder, model=wide_model)


def test_a_model_object_is_an_encoder(
    client: FlowClient, wide_model: str, model_folder: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_folder))
    result = client.simulate(texts=tuple(TEXTS), encoder=model, model=wide_model)
    expected = client.simulate(model.encode(TEXTS), model=wide_model)
    assert same(result.surface, expected.surface)
    with pytest.raises(EmbeddingError, match=rf"SentenceTransformer returns {WIDTH} numbers .* 8;"):
        client.simulate(texts=TEXTS, encoder=model)


def test_the_asynchronous_client_encodes_in_another_thread(server: LiveServer) -> None:
    class Watching(LetterEncoder):
        thread = threading.get_ident()

        def encode(self, texts: list[str]) -> NDArray[np.float64]:
            self.thread = threading.get_ident()
            return super().encode(texts)

    encoder = Watching()

    async def simulate() -> NDArray[np.float32]:
        async with AsyncFlowClient(server.url) as client:
            both = await asyncio.gather(
                client.simulate(texts=TEXTS, encoder=encoder),
                client.simulate(encoder.encode(TEXTS)),
            )
            assert same(both[0].surface, both[1].surface)
            return both[0].surface

    asyncio.run(simulate())
    assert encoder.thread != threading.get_ident()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", r"one text is \[text\]"),
        ([], "at least one text"),
        (["a", "", "b"], "texts.1: is empty"),
        (["a", "b", " \n"], "texts.2: is empty"),
        (["a", None], "texts.1: must be a text, not missing"),
        (["a", float("nan")], "texts.1: must be a text, not missing"),
        (["a", 7], "texts.1: must be a text"),
        (["a", b"b"], "texts.1: must be a text"),
        (["a", "\ud800"], "texts.1: has a surrogate"),
        ({"a": "b"}, "must be a list of texts"),
        (7, "must be a list of texts"),
    ],
)
def test_texts_that_cannot_be_encoded_are_refused(texts: Any, message: str) -> None:
    server, encoder = FakeFlowServer(), LetterEncoder()
    with server.client() as client, pytest.raises(EmbeddingError, match=message):
        client.simulate(texts=texts, encoder=encoder)
    assert encoder.calls == []
    assert server.requests == []


def test_exactly_one_source_is_given() -> None:
    rows = np.zeros((1, 8))
    with FakeFlowServer().client() as client:
        for method in (client.simulate, client.dry_run):
            with pytest.raises(ValueError, match="one of embeddings and texts, not none"):
                method()
            with pytest.raises(ValueError, match="not embeddings and texts"):
                method(rows, texts=TEXTS)
            with pytest.raises(ValueError, match="an encoder is for texts"):
                method(rows, encoder=LetterEncoder())
        with pytest.raises(ValueError, match="texts and dataset, not texts and dataset"):
            client.submit_run(texts=TEXTS, dataset="words")
        with pytest.raises(ValueError, match="not none"):
            client.submit_run()
        with pytest.raises(ValueError, match="the method encode, not float"):
            client.submit_run(texts=TEXTS, encoder=1.5)  # type: ignore[arg-type]


def test_another_width_is_refused_before_all_texts_are_encoded(client: FlowClient) -> None:
    sized = Sized(5)
    with pytest.raises(EmbeddingError, match=r"Sized returns 5 numbers .* default takes 8;"):
        client.simulate(texts=TEXTS, encoder=sized)
    assert sized.calls == []
    encoder = LetterEncoder(6)
    with pytest.raises(EmbeddingError, match="LetterEncoder returns 6 numbers"):
        client.simulate(texts=TEXTS * 1000, encoder=encoder)
    assert len(encoder.calls) == 1
    with pytest.raises(NotFound):
        client.simulate(texts=TEXTS, encoder=encoder, model="no-such-model")
    assert len(encoder.calls) == 1


def test_the_fake_server_takes_texts() -> None:
    with FakeFlowServer(embedding_dim=6).client() as client:
        assert len(client.simulate(texts=TEXTS, encoder=LetterEncoder(6)).surface) == 3
        assert client.model("any").embedding_dim == 6
        with pytest.raises(EmbeddingError, match="takes 6"):
            client.simulate(texts=TEXTS, encoder=LetterEncoder(8))
    with FakeFlowServer().client() as client:
        assert len(client.simulate(texts=TEXTS, encoder=LetterEncoder(5)).surface) == 3


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros((2, 8)), r"texts.0: .* an array \[2, 8\] for 3 texts"),
        (np.zeros((3, 0)), "for 3 texts"),
        ([[1.0, 2.0], [3.0], [4.0]], "does not return rows of numbers"),
        (None, "does not return rows of numbers"),
        (["x", "y", "z"], "does not return rows of numbers"),
        ([[0.0], [np.nan], [1.0]], "texts.1: .* not finite"),
        ([[0.0], [1.0], [1e300]], "texts.2: .* not finite"),
    ],
)
def test_what_an_encoder_returns_is_checked(returned: Any, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        TextEncoder(Fixed(returned)).encode(TEXTS)


def test_many_texts_are_encoded_in_parts() -> None:
    encoder = LetterEncoder()
    many = [f"text {number} {'ab' * (number % 7)}" for number in range(2500)]
    rows = TextEncoder(encoder).encode(iter(many))
    assert sum(encoder.calls) == 2500
    assert max(encoder.calls) < 2500
    np.testing.assert_array_equal(rows, encoder.encode(many).astype(np.float32), strict=True)


def run_alone(code: str, **environment: str) -> list[str]:
    """Run code in a process of its own, without a network, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
    )
    return done.stdout.splitlines()


def encode_with(*encoders: str) -> str:
    """Return code that prints a line for each encoder: why it cannot encode."""
    return (
        "from energy_flow.client import TextEncoder\n"
        f"for encoder in {encoders}:\n"
        "    try: TextEncoder(encoder).encode(['a'])\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )


def test_a_model_that_cannot_be_had_is_refused_in_one_line(tmp_path: Path) -> None:
    code = encode_with("sentence-transformers/all-MiniLM-L6-v2", str(tmp_path))
    absent, empty = run_alone(code, HF_HOME=str(tmp_path))
    assert absent.startswith("EncoderUnavailable the encoder sentence-transformers/all-MiniLM-L6")
    assert "hf download" in absent
    assert "give the path of that folder" in absent
    assert "choose a folder that holds a model" in empty


def test_a_network_that_fails_is_asked_once(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def end_connections(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                asked.append(connection.recv(1000).partition(b"\r\n")[0])
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=end_connections, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        online = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}
        (absent,) = run_alone(encode_with("sentence-transformers/all-MiniLM-L6-v2"), **online)
        listener.shutdown(socket.SHUT_RDWR)
    assert "it is not on this machine, and cannot be downloaded" in absent
    # The library may ask something else.
    assert len([line for line in asked if b"all-MiniLM-L6-v2" in line]) == 1


def test_the_extra_is_named_where_it_is_missing() -> None:
    absent = "import sys; sys.modules['sentence_transformers'] = None\n"
    (message,) = run_alone(absent + encode_with("any"))
    assert message.startswith("ModuleNotFoundError")
    assert "pip install 'energy-flow[text]'" in message


def test_libraries_of_encoders_are_loaded_only_when_texts_are_encoded() -> None:
    code = (
        "import sys, energy_flow.client, service.cli, service.cli.embed\n"
        "energy_flow.client.TextEncoder('any')\n"
        "print({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules))"
    )
    assert run_alone(code) == ["set()"]
