"""Messages for wrong values of fields, and descriptions of fields."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.messages import describe_error
from energy_flow.config.validation import collect_faults, find_group
from energy_flow.errors import ConfigError, Fault
from energy_flow.training.config import TrainConfig
from service.open_inference.schemas import IndexQuery, InferRequest, RepositoryAction
from service.problems import Problem
from service.requests.members import parse_members
from service.schemas.experiment import ExperimentFields
from service.schemas.model import ModelFields
from service.schemas.replay import ReplayFields
from service.schemas.simulate import RunRequest, SimulateRequest

CONFIGS = (FlowConfig, TrainConfig)
REQUESTS = (
    SimulateRequest,
    RunRequest,
    ReplayFields,
    ModelFields,
    ExperimentFields,
    InferRequest,
    IndexQuery,
    RepositoryAction,
)
WRONG: tuple[Any, ...] = (
    "no such name!",
    "",
    "é" * 100,
    True,
    -1,
    0,
    0.5,
    2**64,
    -(2.0**80),
    math.nan,
    [],
    ["no such name!"],
    [1.5, None, "x"],
    [{}],
    {},
    {"no_such_member": 1},
)
PYDANTIC = re.compile(
    r"should|field required|\bvalid\b|pattern|pars(e|ing)|instance|dictionary|"
    r"(greater|less) than",
    re.IGNORECASE,
)


def refuse(kind: type[BaseModel], members: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Return the faults of a config or a request."""
    try:
        if kind in CONFIGS:
            kind(**members)
        else:
            parse_members(kind, members)
    except ConfigError as error:
        return error.faults
    except Problem as problem:
        return problem.faults
    return ()


def find_fields(kind: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the places of all fields, those of groups among them."""
    for name in kind.model_fields:
        yield (*path, name)
        group = find_group(kind, (name,))
        if group is not None:
            yield from find_fields(group, (*path, name))


def put(path: tuple[str, ...], value: Any) -> Any:
    """Return nested objects with a value at a place."""
    for name in reversed(path):
        value = {name: value}
    return value


@pytest.mark.parametrize("kind", [*CONFIGS, *REQUESTS], ids=lambda kind: kind.__name__)
def test_no_message_is_one_of_pydantic(kind: type[BaseModel]) -> None:
    sent = [{}, {"no_such_member": 1}]
    for path in find_fields(kind):
        sent += [put(path, value) for value in WRONG]
        sent.append(put((*path[:-1], f"{path[-1]}x"), 1))
    refused = 0
    for members in sent:
        for fault in refuse(kind, members):
            assert not PYDANTIC.search(fault.msg), f"{members}: {fault}"
            assert fault.msg[0].islower(), f"{members}: {fault}"
            refused += 1
    assert refused > len(sent) // 2


EXPERIMENT = {"name": "x", "dataset": "y"}


@pytest.mark.parametrize(
    ("kind", "members", "message"),
    [
        (FlowConfig, {"noise_std": "loud"}, "noise_std: must be a number (got 'loud')"),
        (FlowConfig, {"noise_std": 11}, "noise_std: must be at most 10 (got 11)"),
        (FlowConfig, {"noise_std": math.inf}, "noise_std: must be a finite number (got inf)"),
        (FlowConfig, {"max_steps": 0}, "max_steps: must be at least 1 (got 0)"),
        (FlowConfig, {"max_steps": 1.5}, "max_steps: must be an integer (got 1.5)"),
        (FlowConfig, {"displacement_scale": 0}, "displacement_scale: must be above 0 (got 0)"),
        (FlowConfig, {"spawn": 3}, "spawn: must be an object with named members (got 3)"),
        (
            FlowConfig,
            {"boundary": "reflct"},
            "boundary: must be one of reflect, clamp; did you mean 'reflect'? (got 'reflct')",
        ),
        (
            FlowConfig,
            {"trace": {"capcity": 1}},
            "trace.capcity: unknown field; known are capacity, keep, kinds; did you mean "
            "'capacity'? (got 1)",
        ),
        (TrainConfig, {"optimiser": {"beta1": 1}}, "optimiser.beta1: must be below 1 (got 1)"),
        (SimulateRequest, {"embeddings": [[1.0]], "store": "no"}, "must be true or false"),
        (SimulateRequest, {}, "embeddings: is required (got None)"),
        (SimulateRequest, {"model": 3}, "model: must be a string (got 3)"),
        (RunRequest, {"rows": [1]}, "rows: must have at least 2 items (got [1])"),
        (ExperimentFields, {"seeds": []}, "seeds: must have at least 1 item (got [])"),
        (ExperimentFields, {"seeds": 3}, "seeds: must be a list (got 3)"),
        (
            ExperimentFields,
            {"kind": "simulat"},
            "kind: must be one of simulate, train; did you mean 'simulate'? (got 'simulat')",
        ),
        (
            ExperimentFields,
            {"name": "../x"},
            "name: must be 1 to 64 letters, digits, dots, dashes and underscores, starting with a "
            "letter or digit (got '../x')",
        ),
    ],
)
def test_messages_state_what_would_be_allowed(
    kind: type[BaseModel], members: dict[str, Any], message: str
) -> None:
    if kind is ExperimentFields:
        members = {**EXPERIMENT, **members}
    assert message in "; ".join(str(fault) for fault in refuse(kind, members))


@pytest.mark.parametrize("name", ["x", "0", "a.b-c_d", "x" * 64])
def test_names_are_accepted(name: str) -> None:
    assert ExperimentFields(name=name, dataset=name).name == name


@pytest.mark.parametrize("name", ["", ".", "-x", "a b", "x\n", "é", "x" * 65])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ExperimentFields(name=name, dataset="x")
    [fault] = collect_faults(refused.value, ExperimentFields)
    assert fault.loc == ("name",)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/runs?limit=x", "limit: must be an integer (got 'x')"),
        ("/v1/runs?limit=0", "limit: must be at least 1 (got '0')"),
        ("/v1/experiments?kind=trian", "must be one of simulate, train; did you mean 'train'?"),
    ],
)
def test_messages_for_parameters(client: httpx.Client, path: str, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/simulate", "/v1/runs"])
def test_every_member_of_a_body_is_suggested(client: httpx.Client, path: str) -> None:
    body = {"embedings": [[0.5]], "sampl_keys": [1], "outptus": ["hits"]}
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    for name in ("embeddings", "sample_keys", "outputs"):
        assert f"did you mean '{name}'?" in answer.json()["detail"]


def test_an_error_without_a_text_of_its_own_is_in_the_same_style() -> None:
    error = {"type": "other", "loc": ("at",), "msg": "Input should be later", "input": 1}
    assert describe_error(error) == "must be later"
    assert describe_error({**error, "msg": "Value error, ask again"}) == "ask again"
    assert describe_error({**error, "msg": "Datetime is old"}) == "datetime is old"


@pytest.mark.parametrize("kind", [*CONFIGS, *REQUESTS], ids=lambda kind: kind.__name__)
def test_every_field_has_a_description(kind: type[BaseModel]) -> None:
    schema = kind.model_json_schema()
    for owner in (schema, *schema.get("$defs", {}).values()):
        for name, field in owner.get("properties", {}).items():
            assert len(field.get("description", "").split()) >= 2, f"{owner['title']}.{name}"


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_schemas_of_configs_leave_out_what_only_python_needs(kind: type[BaseModel]) -> None:
    schema = kind.model_json_schema()
    for owner in (schema, *schema["$defs"].values()):
        assert owner["description"]
        if "properties" in owner:
            assert not re.search(r"Args:|Raises:|\n", owner["description"]), owner["title"]
