"""Clients of an Energy Flow server, with httpx and NumPy and without torch.

>>> from energy_flow.client import FlowClient
>>> with FlowClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     result = client.simulate(embeddings)
"""

from energy_flow.client._async.client import AsyncFlowClient
from energy_flow.client._sync.client import FlowClient
from energy_flow.client.datasets import Dataset
from energy_flow.client.errors import (
    BadRequest,
    Conflict,
    DeadlinePassed,
    FieldError,
    FlowClientError,
    Forbidden,
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
from energy_flow.client.events import RunEvent
from energy_flow.client.experiment_events import ExperimentEvent
from energy_flow.client.experiment_results import ExperimentResults
from energy_flow.client.experiments import Experiment, Trial
from energy_flow.client.listing import Deletion, Kept
from energy_flow.client.measurements import Memory, Metrics
from energy_flow.client.models import Ablation, Model, SampleRows
from energy_flow.client.replay import Comparison, Difference, Replay, SampleComparison
from energy_flow.client.retry import NO_RETRY, PATIENT, Retry
from energy_flow.client.runs import Run
from energy_flow.client.simulation import Estimate, Simulation
from energy_flow.client.text_encoder import DEFAULT_ENCODER, Encoder, TextEncoder
from energy_flow.client.trace import Trace, TraceCounts, TraceRecords, TruncatedTraceWarning
from energy_flow.errors import EmbeddingError, EncoderUnavailable
from energy_flow.trace.records import KINDS

__all__ = [
    "DEFAULT_ENCODER",
    "KINDS",
    "NO_RETRY",
    "PATIENT",
    "Ablation",
    "AsyncFlowClient",
    "BadRequest",
    "Comparison",
    "Conflict",
    "Dataset",
    "DeadlinePassed",
    "Deletion",
    "Difference",
    "EmbeddingError",
    "Encoder",
    "EncoderUnavailable",
    "Estimate",
    "Experiment",
    "ExperimentEvent",
    "ExperimentResults",
    "FieldError",
    "FlowClient",
    "FlowClientError",
    "Forbidden",
    "Kept",
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
    "SampleRows",
    "ServerFailure",
    "ServerUnavailable",
    "ServerUnreachable",
    "Simulation",
    "StorageFull",
    "TextEncoder",
    "TooLarge",
    "Trace",
    "TraceCounts",
    "TraceRecords",
    "Trial",
    "TruncatedTraceWarning",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unprocessable",
    "UnsupportedMedia",
]
