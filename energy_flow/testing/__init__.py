"""Fakes for tests of code that uses Energy Flow, without a server and without a large model.

For example::

    from energy_flow.testing import FakeFlowServer, tiny_config, tiny_embeddings

    server = FakeFlowServer()
    with server.client() as client:
        assert client.simulate(tiny_embeddings()).surface.shape == (3, 4, 4)

- :class:`FakeFlowServer` answers the requests of :class:`~energy_flow.client.FlowClient` with
  results that the test chooses.
- :class:`ScriptedServer` gives prepared answers one after the other, for what a server does rarely.
- :class:`InMemoryExecutor` carries out work as a worker elsewhere would, one run after the other.
- :func:`tiny_config` is the config of a model that is built and run in milliseconds.

Names are loaded at their first use (PEP 562). The fakes of a server import no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_flow.testing.answers import (
        encode_event,
        problem_answer,
        run_document,
        simulation_document,
    )
    from energy_flow.testing.fake_server import FakeFlowServer
    from energy_flow.testing.in_memory_executor import InMemoryExecutor
    from energy_flow.testing.in_process_server import QUICK_RETRY, InProcessServer
    from energy_flow.testing.scripted_server import BrokenStream, ScriptedServer
    from energy_flow.testing.tiny_model import TINY_FIELDS, tiny_config, tiny_embeddings

__all__ = [
    "QUICK_RETRY",
    "TINY_FIELDS",
    "BrokenStream",
    "FakeFlowServer",
    "InMemoryExecutor",
    "InProcessServer",
    "ScriptedServer",
    "encode_event",
    "problem_answer",
    "run_document",
    "simulation_document",
    "tiny_config",
    "tiny_embeddings",
]

_MODULES = {
    "QUICK_RETRY": "in_process_server",
    "TINY_FIELDS": "tiny_model",
    "BrokenStream": "scripted_server",
    "FakeFlowServer": "fake_server",
    "InMemoryExecutor": "in_memory_executor",
    "InProcessServer": "in_process_server",
    "ScriptedServer": "scripted_server",
    "encode_event": "answers",
    "problem_answer": "answers",
    "run_document": "answers",
    "simulation_document": "answers",
    "tiny_config": "tiny_model",
    "tiny_embeddings": "tiny_model",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
