"""Clients of an Energy Flow server: httpx and numpy, no torch.

>>> from service.client import FlowClient
>>> with FlowClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     result = client.simulate(embeddings)
"""

from service.client.asynchronous import AsyncFlowClient
from service.client.blocking import FlowClient
from service.client.datasets import Dataset
from service.client.errors import (
    BadRequest,
    Conflict,
    DeadlinePassed,
    FieldError,
    FlowClientError,
    NotFound,
    Overloaded,
    ProblemError,
    ResponseTimeout,
    RunInterrupted,
    ServerFailure,
    ServerUnavailable,
    ServerUnreachable,
    StorageFull,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
    Unprocessable,
    UnsupportedMedia,
)
from service.client.events import RunEvent
from service.client.exchange import NO_RETRY, PATIENT, Retry
from service.client.experiments import (
    Experiment,
    ExperimentEvent,
    ExperimentResults,
    Trial,
)
from service.client.lookback import Comparison, Difference, Replay, SampleComparison
from service.client.results import Estimate, Memory, Metrics, Model, Run, Simulation
from service.client.trace import KINDS, Trace, TraceRecords

__all__ = [
    "KINDS",
    "NO_RETRY",
    "PATIENT",
    "AsyncFlowClient",
    "BadRequest",
    "Comparison",
    "Conflict",
    "Dataset",
    "DeadlinePassed",
    "Difference",
    "Estimate",
    "Experiment",
    "ExperimentEvent",
    "ExperimentResults",
    "FieldError",
    "FlowClient",
    "FlowClientError",
    "Memory",
    "Metrics",
    "Model",
    "NotFound",
    "Overloaded",
    "ProblemError",
    "Replay",
    "ResponseTimeout",
    "Retry",
    "Run",
    "RunEvent",
    "RunInterrupted",
    "SampleComparison",
    "ServerFailure",
    "ServerUnavailable",
    "ServerUnreachable",
    "Simulation",
    "StorageFull",
    "TooLarge",
    "Trace",
    "TraceRecords",
    "Trial",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unprocessable",
    "UnsupportedMedia",
]
