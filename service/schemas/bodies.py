"""What all schemas share: base classes and types of members."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from energy_flow.choices import Output

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NAME_RULE: Final = (
    "must be 1 to 64 letters, digits, dots, dashes and underscores, starting with a letter or digit"
)
MAX_SEED: Final = 2**63 - 1


def _refuse_other_names(name: str) -> str:
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise ValueError(NAME_RULE)
    return name


ModelName = Annotated[
    str, AfterValidator(_refuse_other_names), Field(json_schema_extra={"pattern": NAME_PATTERN})
]
"""Name of a model, a dataset or an experiment."""
OutputName = Annotated[Output, Field(strict=False)]
"""An output in a request, which is checked strictly: a strict enum accepts no strings."""
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A time in UTC (RFC 3339)."""


class RequestBody(BaseModel):
    """A request; unknown members and members of other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AnswerBody(BaseModel):
    """An answer; later versions may add members."""

    # No answer is validated, so no validator is needed before the document is made.
    model_config = ConfigDict(defer_build=True)
