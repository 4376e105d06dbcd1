"""``ParsedRequest``: a request to simulate before it is checked against its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from energy_flow.errors import Fault
from service.schemas.simulate import RunFields, SimulateFields


@dataclass(frozen=True)
class ParsedRequest:
    """A request that has been parsed, but not yet checked against its model.

    Attributes:
        fields: Its members without embeddings and sample keys; a member with a fault has its
            default.
        numbers: Embeddings [rows, dimension] of any float dtype; ``None`` if they have faults, or
            are rows of a dataset.
        sample_keys: The sample keys as they were sent.
        faults: All faults so far.
    """

    fields: SimulateFields
    numbers: NDArray[Any] | None
    sample_keys: Any
    faults: tuple[Fault, ...]

    @property
    def model_name(self) -> str | None:
        """Name of the model; ``None`` if the request has a faulty one."""
        is_faulty = any(fault.loc[:1] == ("model",) for fault in self.faults)
        return None if is_faulty else self.fields.model

    @property
    def dataset_name(self) -> str | None:
        """Name of the dataset that has the embeddings, if any."""
        return self.fields.dataset if isinstance(self.fields, RunFields) else None
