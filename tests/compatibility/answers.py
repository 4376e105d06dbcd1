"""Recorded requests and answers, and what of an answer is compared."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from tests.compatibility.bodies import body_of, with_named_tensors
from tests.compatibility.difference import Comparison, mentions

HEADERS = (
    "accept",
    "accept-post",
    "accept-ranges",
    "allow",
    "content-disposition",
    "content-range",
    "content-type",
    "idempotency-replayed",
    "location",
    "next-cursor",
    "trace-complete",
    "trace-format-version",
    "vary",
    "www-authenticate",
)
"""Headers that callers act on."""


MODELS_IN_BFLOAT16 = ("half", "other")
"""Names of models in bfloat16."""


class Basis(StrEnum):
    """Where the numbers of an answer come from.

    ``stored``: from the data directory; the same on every machine. ``computed``: at least some were
    computed by the server that answers, so times differ, and on another kind of machine last bits.
    ``rounded``: computed in bfloat16, whose arithmetic has changed since, so that flows may decide
    otherwise: only the form of the answer is compared.
    """

    STORED = "stored"
    COMPUTED = "computed"
    ROUNDED = "rounded"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is sent.

    Attributes:
        json: its body. base64: the same, where that is not JSON. zeros: the same, of so many zeros.
        has_key: whether the API key comes along.
    """

    method: str
    path: str
    json: Any = None
    base64: str | None = None
    zeros: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    has_key: bool = True

    def send(self, client: httpx.Client) -> httpx.Response:
        """Return the answer of a server."""
        headers = dict(self.headers)
        content: bytes | None = None
        if self.base64 is not None:
            content = base64.b64decode(self.base64)
        elif self.zeros:
            content = bytes(self.zeros)
        elif self.json is not None:
            # As most clients write it: a server knows a request again by its bytes.
            content = json.dumps(self.json, separators=(",", ":")).encode()
            headers.setdefault("Content-Type", "application/json")
        made = client.build_request(self.method, self.path, content=content, headers=headers)
        if not self.has_key:
            del made.headers["Authorization"]
        return client.send(made)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        headers: those of :data:`HEADERS` that came along.
        body: as :func:`tests.compatibility.bodies.body_of` returns it.
    """

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @classmethod
    def of(cls, response: httpx.Response, *, values: bool = False) -> Answer:
        """What is compared of a response."""
        headers = {name: response.headers[name] for name in HEADERS if name in response.headers}
        if "vary" in headers:
            # Later versions compress answers as well.
            headers["vary"] = headers["vary"].removesuffix(", Accept-Encoding")
        if "allow" in headers:
            # Later versions answer HEAD wherever GET is.
            headers["allow"] = headers["allow"].replace("GET, HEAD", "GET")
        media_type = headers.get("content-type", "").partition(";")[0]
        if response.status_code == 206:
            # A piece of a file, which means nothing by itself.
            body = {"bytes": list(response.content)}
        else:
            body = body_of(media_type, response.content, values=values)
        return cls(response.status_code, headers, body)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the answer to it."""

    request: Request
    basis: Basis
    answer: Answer

    @property
    def name(self) -> str:
        """For a list of differences."""
        without_key = "" if self.request.has_key else " without key"
        return f"{self.request.method} {self.request.path}{without_key} {self.answer.status}"

    @property
    def is_accepted_later(self) -> bool:
        """Whether later versions accept the request, which this one refused."""
        return (self.name, self.request.headers.get("Content-Type", "")) in ACCEPTED_LATER

    def is_in_bfloat16(self, run_ids: tuple[str, ...]) -> bool:
        """Whether numbers of the answer are computed anew in bfloat16.

        Args:
            run_ids: of runs in bfloat16.
        """
        if self.basis is not Basis.COMPUTED:
            return self.basis is Basis.ROUNDED
        asked = self.request.json if isinstance(self.request.json, dict) else {}
        is_of_run = any(run_id in self.request.path for run_id in run_ids)
        return is_of_run or asked.get("model") in MODELS_IN_BFLOAT16

    def is_left_out(self, stopped: tuple[str, ...]) -> bool:
        """Whether the answer depends on experiments that cannot go on.

        Args:
            stopped: their names and ids.
        """
        asks = any(name in self.request.path for name in stopped)
        is_first_part = re.search(r"limit=\d(&|$)", self.request.path) is not None
        return asks or (is_first_part and mentions(asdict(self.answer), stopped))

    def differences(
        self,
        response: httpx.Response,
        is_same_machine: bool,
        stopped: tuple[str, ...],
        run_ids: tuple[str, ...],
    ) -> list[str]:
        """Every way in which an answer of today is another one.

        Args:
            response: the answer of today.
            is_same_machine: whether the same bits are expected.
            stopped: names and ids of experiments that cannot go on.
            run_ids: of runs in bfloat16.
        """
        now = Answer.of(response, values=self.basis is not Basis.STORED)
        is_exact = self.basis is Basis.STORED or is_same_machine
        ignored = ignored_of(self)
        if self.is_in_bfloat16(run_ids):
            # Only which members there are.
            ignored = re.compile(f"{ignored.pattern}|body\\..*")
        recorded, found = (
            {**asdict(answer), "body": with_named_tensors(answer.body)}
            for answer in (self.answer, now)
        )
        return list(Comparison(is_exact, ignored, stopped).differences(recorded, found))


_TIMES = (
    *("queue_ms", "compute_ms", "total_ms", "mean_step_ms", "max_step_ms"),
    *("flow_steps_per_second", "seconds_left", "started_at", "ended_at"),
)
_MEMORY = (
    "memory",
    "state_bytes",
    "trace_bytes",
    "predicted_bytes",
    "bytes",
    "host_peak_rss_bytes",
)

VOLATILE = rf"(.*\.)?({'|'.join((*_TIMES, *_MEMORY))})(\..*)?"
"""Members that no two servers have the same values of."""

_ANYWHERE = (
    # A model is loaded when it is first needed.
    r"body\.json\.(items\.\d+\.)?loaded",
    # Texts for people.
    r"body\.json\.(items\.\d+\.|parameters\.)?warnings\..*",
)
_COMPUTED = (
    VOLATILE,
    # An upper bound, which later versions know better.
    r"body\.json\.flow_steps_bound",
    # A simulation that is not kept has a new id.
    r"body\.json\.(parameters\.)?run_id",
    r"body\.tensors\.answer\.run_id",
    # Why a run was broken off, for people.
    r"body\.(json|events\.\d+\.data)\.(items\.\d+\.)?error\.(title|detail)",
)
_REFUSED = (
    r"body\.json\.(title|detail|error)",
    r"body\.json\.errors\.\d+\.(msg|got)(\..*)?",
    # Later versions take more media types.
    r"headers\.accept(-post)?",
    # What there is of memory now.
    r"body\.json\.\w+_bytes",
    # An experiment can end from more states than before.
    r"body\.json\.transitions(\.\d+)?",
)
ACCEPTED_LATER = frozenset(
    (
        # Tensors and files of one tensor of any name, and formats that came later.
        ("POST /v1/simulate 422", "application/octet-stream"),
        ("PUT /v1/datasets/new 415", "text/csv"),
        ("PUT /v1/datasets/new?format=safetensors 422", "application/octet-stream"),
    )
)
"""Names and media types of requests that were refused, and are accepted by later versions."""

_OF_PATHS = {
    # Whether the replay has the bits of the run; a test of its own looks at it.
    r".*/replay": r"body\.json\.(agrees|difference(\..*)?)",
    # When the server started.
    r"/v1/models/default": r"body\.json\.created_at",
    # Of an experiment that goes on, a server that starts again counts on from a higher number.
    r"/v1/experiments.*": r"body\.json\.(items\.\d+\.)?last_event_id",
    # The server and its machine; how much it has done.
    r"/v1/system": r"body\.json\.(versions|engine|memory|store)\..*",
    r"/v2.*/stats": (
        r"body\.json\.model_stats\.\d+\.(\w+_count|last_inference|.*\.(count|ns|byte_size))"
    ),
    r"/v2": r"body\.json\.version",
}


def ignored_of(exchange: Exchange) -> re.Pattern[str]:
    """What may have any value in the answer to a request, by its dotted path."""
    patterns = list(_ANYWHERE)
    if exchange.basis is not Basis.STORED:
        patterns += _COMPUTED
    if exchange.answer.status >= 400:
        patterns += _REFUSED
    path = exchange.request.path
    patterns += [ignored for of, ignored in _OF_PATHS.items() if re.fullmatch(of, path)]
    return re.compile("|".join(patterns))


def write(path: Path, exchanges: list[Exchange]) -> None:
    """Write exchanges, a line each."""
    lines = [json.dumps(asdict(exchange)) for exchange in exchanges]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path) -> list[Exchange]:
    """Read exchanges that were written."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        request, answer = Request(**data["request"]), Answer(**data["answer"])
        found.append(Exchange(request, Basis(data["basis"]), answer))
    return found
