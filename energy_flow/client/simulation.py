"""Simulations: what the server answers, and the request for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from energy_flow.choices import Output
from energy_flow.client import calls, tensors
from energy_flow.client.answers import convert, read_json
from energy_flow.client.displayed import Displayed
from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.exchange import Reply, Request
from energy_flow.client.json_values import check_numbers, integers
from energy_flow.client.measurements import Memory, Metrics, Timing
from energy_flow.client.models import ModelVersion
from energy_flow.client.tensors import embeddings_array
from energy_flow.client.trace import Trace, columns_of
from energy_flow.plots import add_colour_bar, choose_axes, draw_surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTPUT_DTYPES: Mapping[str, np.dtype[Any]] = {
    output.value: np.dtype(output.dtype) for output in Output
}
"""Dtypes of outputs by name."""


@dataclass(frozen=True, slots=True, repr=False)
class Simulation(Displayed):
    """The answer to one simulation.

    Attributes:
        run_id: of the run that the server keeps; ``None`` if it keeps none.
        model: the model that was used.
        seed: of the noise.
        outputs: arrays of the requested outputs by name. The first axis is that of the rows; the
            other ones, and the dtypes, are in :class:`energy_flow.choices.Output`.
        trace: the records that came with the answer, and exact counts of all records.
        memory: memory of the run.
        metrics: counts and means of the run.
        timing: where the time was spent.
        samples: the counts of each sample, in the order of the rows.
        warnings: settings that cannot have the effect one would expect.
        data: the whole answer as plain JSON data, without the outputs and the records.
    """

    run_id: str | None
    model: ModelVersion
    seed: int
    outputs: Mapping[str, NDArray[Any]]
    trace: Trace
    memory: Memory
    metrics: Metrics
    timing: Timing
    samples: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)

    def _facts(self) -> Mapping[str, object]:
        return {
            "run_id": self.run_id,
            "model": self.model.name,
            "samples": len(self.samples),
            **{name: f"{array.dtype} {list(array.shape)}" for name, array in self.outputs.items()},
            "records": len(self.trace),
            "warnings": len(self.warnings) or None,
        }

    @property
    def surface(self) -> NDArray[np.float32]:
        """Return the surfaces, [B, H, W].

        Raises:
            KeyError: they were not requested; it names the outputs that there are.
        """
        if Output.SURFACE not in self.outputs:
            known = ", ".join(self.outputs) or "none"
            raise KeyError(f"the output surface was not requested; there are {known}")
        return self.outputs[Output.SURFACE]

    def plot_surface(self, sample: int = 0, *, axes: Axes | None = None) -> Axes:
        """Draw the surface of a sample; cells that no flow reached are grey if that is known.

        Args:
            sample: row of the request.
            axes: Matplotlib axes to draw in; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            KeyError: the output ``surface`` was not requested.
            ImportError: Matplotlib is not installed.
        """
        surface: NDArray[Any] = self.surface[sample]
        reached = self.outputs.get(Output.REACHED)
        if reached is not None:
            surface = np.ma.masked_array(surface, mask=~reached[sample].any(axis=0))
        chosen = choose_axes(axes)
        image = draw_surface(chosen, surface)
        chosen.set_title(f"surface of sample {sample}")
        add_colour_bar(chosen, image, "energy")
        return chosen


@dataclass(frozen=True, slots=True)
class Estimate:
    """The predicted cost of a simulation.

    Attributes:
        flows: flows at the start.
        predicted_bytes: memory of the device.
        flow_steps_bound: upper bound of the flow-steps.
        queue_wait_ms: milliseconds before it would begin; ``None`` where it is not known.
        warnings: settings that cannot have the effect one would expect.
    """

    flows: int
    predicted_bytes: int
    flow_steps_bound: int
    queue_wait_ms: float | None
    warnings: tuple[str, ...] = ()


def check_sources(encoder: object, **sources: object) -> None:
    """Refuse a request that does not have exactly one source of rows.

    Args:
        encoder: the encoder of texts, if one is given.
        sources: the sources by the names of their arguments; ``None`` where one is not given.

    Raises:
        ValueError: none or several of them are given, or an encoder without texts.
    """
    given = [name for name, source in sources.items() if source is not None]
    if len(given) != 1:
        names = list(sources)
        known = f"{', '.join(names[:-1])} and {names[-1]}"
        raise ValueError(f"give exactly one of {known}, not {' and '.join(given) or 'none'}")
    if encoder is not None and sources["texts"] is None:
        raise ValueError("an encoder is for texts; give texts, or leave the encoder out")


def request_members(
    *,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    sample_keys: Sequence[int] | None = None,
    outputs: Sequence[str] | None = None,
    trace: Mapping[str, Any] | None = None,
    model: str | None = None,
    store: bool | None = None,
    timeout_ms: int | None = None,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    note: str | None = None,
) -> dict[str, Any]:
    """Return the members of a request to simulate, without its embeddings.

    The arguments are those of :meth:`FlowClient.simulate`; what is not given is left out.

    Raises:
        ValueError: a number is missing, masked, infinite or not a number, or a key is no integer.
    """
    # Before they are converted, which an empty cell of a table cannot be.
    check_numbers({"options": options, "trace": trace}, "")
    members = {
        "options": dict(options) if options else None,
        "seed": seed,
        "sample_keys": None if sample_keys is None else integers(sample_keys, "sample_keys"),
        "outputs": calls.as_names(outputs),
        "trace": dict(trace) if trace else None,
        "model": model,
        "store": store,
        "timeout_ms": timeout_ms,
        "name": name,
        "tags": None if tags is None else list(tags),
        "note": note,
    }
    return {name: value for name, value in members.items() if value is not None}


def simulate(embeddings: ArrayLike, *, dry_run: bool = False, **members: Any) -> Request:
    """Return a request for a simulation, whose arrays are sent as bytes.

    Args:
        embeddings: [rows, dimension].
        dry_run: ask for the cost alone.
        members: arguments of :func:`request_members`.

    Raises:
        ValueError: the embeddings are not rows of numbers.
    """
    return Request(
        "POST",
        calls.api_path("simulate"),
        query=(("dry_run", "true"),) if dry_run else (),
        headers={
            # Only results hold arrays, which are faster to read as bytes than as JSON.
            "accept": calls.JSON if dry_run else f"{tensors.MEDIA_TYPE}, {calls.JSON};q=0.5",
            "content-type": tensors.MEDIA_TYPE,
        },
        body=tensors.request_body(embeddings_array(embeddings), request_members(**members)),
        repeatable=dry_run,
    )


def read_simulation(reply: Reply) -> Simulation:
    """Read the answer to :func:`simulate`, tensors or JSON.

    Raises:
        UnexpectedAnswer: a member is missing or has another type.
    """
    as_tensors = reply.headers.get("content-type", "").startswith(tensors.MEDIA_TYPE)
    answer = tensors.read_answer(reply.body) if as_tensors else read_json(reply)
    data = convert(answer, dict[str, Any])
    trace = convert(data.get("trace") or {}, dict[str, Any])
    outputs = convert(data.get("outputs") or {}, dict[str, Any])
    members = {
        "run_id": None,
        **data,
        "outputs": {name: _output(name, values) for name, values in outputs.items()},
        "trace": {**trace, "columns": columns_of(trace.get("records") or {})},
        "data": {
            **{name: value for name, value in data.items() if name != "outputs"},
            "trace": {name: value for name, value in trace.items() if name != "records"},
        },
    }
    return convert(members, Simulation)


def _output(name: str, values: Any) -> NDArray[Any]:
    # Outputs of a newer server keep the dtype that NumPy gives them.
    try:
        return np.asarray(values, dtype=OUTPUT_DTYPES.get(name))
    except (TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"the output {name} cannot be read: {error}") from None
