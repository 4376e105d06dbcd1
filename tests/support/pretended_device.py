"""A CUDA device that is pretended on a CPU: its tensors hold CPU data.

They say that they are on ``cuda:0``. Every operation runs on the data, and is watched: whether
tensors of both devices meet, whether the host waits for the device, what is copied between them,
and how many kernels would be launched. What kernels compute, and how long that takes, only a device
shows.

To PyTorch's C++ code the tensors are on the device ``meta``, so that code that takes their data for
the CPU's fails. Inference mode cannot be used with them; the mode without gradients stands for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.repository import ROOT

DEVICE = torch.device("cuda", 0)
_META = torch.device("meta")
_PACKAGE = str(ROOT / "energy_flow")

WAITING = frozenset(
    [
        "_local_scalar_dense",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "nonzero",
        "nonzero_numpy",
        "unique_consecutive",
        "_unique2",
        "unique_dim",
    ]
)
"""Operations after which the host waits: for their results, or for the size of these."""

WITHOUT_SCALARS = frozenset(
    [
        "cat",
        "stack",
        "index_select",
        "gather",
        "scatter",
        "scatter_",
        "scatter_add_",
        "mm",
        "addmm",
        "index_copy",
        "index_copy_",
        "segment_reduce",
        "_foreach_norm",
        "index_add_",
        "dot",
        "baddbmm",
        "bmm",
    ]
)
"""Operations that also refuse a CPU tensor of one number; elementwise ones accept it."""

LAUNCHES = {
    **dict.fromkeys(
        [
            "empty",
            "empty_like",
            "new_empty",
            "empty_strided",
            "new_empty_strided",
            "_local_scalar_dense",
            "lift_fresh",
            "detach",
        ],
        0,
    ),
    **dict.fromkeys(
        [
            "constant_pad_nd",
            "masked_fill",
            "index_copy",
            "scatter",
            "scatter_add",
        ],
        2,
    ),
    **dict.fromkeys(["index_add", "_foreach_norm"], 2),
    **dict.fromkeys(["nonzero_static", "repeat_interleave"], 4),
    "segment_reduce": 5,
    **dict.fromkeys(["sort", "argsort"], 6),
}
"""Kernels that an operation launches, estimated from PyTorch's sources; one where none is given."""

ACCUMULATION_LAUNCHES = 8
"""The same of ``index_put_`` that accumulates: it sorts first."""


class PretendedTensor(Tensor):
    """A tensor that holds one of the CPU and says that it is on a CUDA device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, *, requires_grad: bool = False) -> PretendedTensor:
        made: PretendedTensor = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=_META,
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The pretended device."""
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """True."""
        return True

    def data_ptr(self) -> int:
        """Return the address of the data."""
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse operations that no watch sees."""
        raise RuntimeError(f"{function} on the pretended device, outside pretended_device()")


class DeviceWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs the operations of the pretended device, and counts what they would do.

    Attributes:
        phase: What is counted apart.
        mixtures: Operations whose tensors are on both devices, by (operation, place).
        waits: Operations after which the host waits, by (operation, place, phase).
        transfers: Copies between the devices, by (direction, place, phase).
        launches: Kernels, by (place, phase).
        unordered: Sums of floats whose order no device fixes, by (operation, place).
        products: Floating-point operations of matrix products, by (dtype, phase).
        bytes: What operations read and write, by phase.
        readings: How often the memory's statistics were read, by phase.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = ""
        self.mixtures: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[tuple[str, str, str]] = Counter()
        self.transfers: Counter[tuple[str, str, str]] = Counter()
        self.launches: Counter[tuple[str, str]] = Counter()
        self.unordered: Counter[tuple[str, str]] = Counter()
        self.products: Counter[tuple[torch.dtype, str]] = Counter()
        self.bytes: Counter[str] = Counter()
        self.readings: Counter[str] = Counter()

    def begin(self, phase: str) -> None:
        """Forget what was counted, and count for a phase.

        Args:
            phase: Its name.
        """
        self.phase = phase
        for counts in (self.waits, self.transfers, self.launches, self.products):
            for key in [key for key in counts if key[-1] == phase]:
                del counts[key]
        del self.bytes[phase], self.readings[phase]

    def of_phase(self, counts: Counter[tuple[str, str, str]], phase: str) -> dict[str, int]:
        """Return the counts of a phase by "operation at place".

        Args:
            counts: :attr:`waits` or :attr:`transfers`.
            phase: One that was set.
        """
        return {f"{what} at {at}": n for (what, at, of), n in counts.items() if of == phase}

    def note_transfer(self, direction: str) -> None:
        """Count a copy between the devices.

        Args:
            direction: ``to device`` or ``to host``.
        """
        self.transfers[direction, _place(), self.phase] += 1

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on the data."""
        flat, structure = pytree.tree_flatten((args, kwargs or {}))
        pretended = [one for one in flat if isinstance(one, PretendedTensor)]
        others = [
            one for one in flat if isinstance(one, Tensor) and not isinstance(one, PretendedTensor)
        ]
        if function is torch.ops.prim.device.default:
            return DEVICE
        name = function._schema.name.removeprefix("aten::")
        device = (kwargs or {}).get("device")
        to_device = device is not None and torch.device(device).type in ("meta", "cuda")
        to_host = device is not None and torch.device(device).type == "cpu"
        held_args, held_kwargs = pytree.tree_unflatten(
            [one.held if isinstance(one, PretendedTensor) else one for one in flat], structure
        )
        if not pretended and not to_device:
            return function(*held_args, **held_kwargs)
        self._note(name, function, args, kwargs or {}, pretended, others, to_device, to_host)
        if "device" in held_kwargs:
            held_kwargs = {**held_kwargs, "device": torch.device("cpu")}
        if name == "_to_copy":
            held_kwargs = {
                key: value
                for key, value in held_kwargs.items()
                if key not in ("device", "non_blocking")
            }
        if _is_unordered(name, held_args):
            self.unordered[str(function), _place()] += 1
        result = function(*held_args, **held_kwargs)
        if (name == "_to_copy" and to_host) or name in ("_local_scalar_dense", "equal"):
            return result
        self._count(name, function, args, result)
        # An operation in place returns the tensor that it was given.
        same = {id(one.held): one for one in pretended}

        def pretend(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            return same[id(one)] if id(one) in same else PretendedTensor(one)

        return pytree.tree_map(pretend, result)

    def _note(
        self,
        name: str,
        function: Any,
        args: Any,
        kwargs: dict[str, Any],
        pretended: list[PretendedTensor],
        others: list[Tensor],
        to_device: bool,
        to_host: bool,
    ) -> None:
        is_copy = name in ("copy_", "_to_copy")
        refuses = name in WITHOUT_SCALARS or any(one.dim() for one in others)
        if pretended and others and not is_copy and refuses:
            self.mixtures[str(function), _place()] += 1
        if (name == "_to_copy" and others and to_device) or (
            name == "copy_" and isinstance(args[0], PretendedTensor) and others
        ):
            self.note_transfer("to device")
        if (name == "_to_copy" and pretended and to_host) or (
            name == "copy_" and pretended and not isinstance(args[0], PretendedTensor)
        ):
            self.note_transfer("to host")
        if _waits(name, function, args, kwargs):
            self.waits[str(function), _place(), self.phase] += 1

    def _count(self, name: str, function: Any, args: Any, result: Any) -> None:
        returns = function._schema.returns
        is_view = bool(returns) and all(
            one.alias_info is not None and not one.alias_info.is_write for one in returns
        )
        made = [one for one in pytree.tree_leaves(result) if isinstance(one, Tensor)]
        is_empty = bool(made) and all(one.numel() == 0 for one in made)
        if not is_view and not is_empty and name != "_unsafe_view":
            accumulates = "index_put" in name and len(args) > 3 and args[3]
            launches = ACCUMULATION_LAUNCHES if accumulates else LAUNCHES.get(name, 1)
            self.launches[_place(), self.phase] += launches
            tensors = [one for one in pytree.tree_leaves((args, made)) if isinstance(one, Tensor)]
            self.bytes[self.phase] += sum(one.nbytes for one in tensors)
        if name in ("mm", "addmm", "addmm_"):
            inner = args[-1].shape[0]
            self.products[made[0].dtype, self.phase] += 2 * made[0].numel() * inner


class _DeviceArguments(TorchFunctionMode):
    """Replaces the CUDA device in arguments, which PyTorch without CUDA refuses."""

    def __init__(self, watch: DeviceWatch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch."""
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name == "tolist" and isinstance(args[0], PretendedTensor):
            self._watch.note_transfer("to host")
            return args[0].held.detach().tolist()
        if _is_cuda(kwargs.get("device")):
            if name in ("tensor", "as_tensor"):
                del kwargs["device"]
                made = function(*args, **kwargs)
                if isinstance(made, PretendedTensor):
                    return made
                self._watch.note_transfer("to device")
                return PretendedTensor(made)
            kwargs["device"] = _META
        if name == "to":
            args = tuple(_META if _is_cuda(one) else one for one in args)
        return function(*args, **kwargs)


@contextmanager
def pretended_device() -> Iterator[DeviceWatch]:
    """Let this process have a pretended CUDA device until the end of the block.

    Yields:
        What the operations on it would do.
    """

    def without_gradients(mode: bool = True) -> Any:
        return torch.no_grad() if mode else torch.enable_grad()

    replaced = {
        "inference_mode": without_gradients,
        "is_inference_mode_enabled": lambda: not torch.is_grad_enabled(),
    }
    watch = DeviceWatch()

    def read_statistics(device: Any = None) -> dict[str, Any]:
        watch.readings[watch.phase] += 1
        return {}

    with ExitStack() as stack:
        for name, function in replaced.items():
            stack.enter_context(mock.patch.object(torch, name, function))
        # Backward passes create tensors where no function of Python can replace the device.
        for name in ("reset_peak_memory_stats", "_lazy_init"):
            stack.enter_context(mock.patch.object(torch.cuda, name, return_value=0))
        # A CPU build of PyTorch has no statistics of a device.
        memory = torch.cuda.memory
        for module, name in (
            (memory, "memory_stats_as_nested_dict"),
            (memory, "memory_stats"),
            (torch.cuda, "memory_stats"),
        ):
            stack.enter_context(mock.patch.object(module, name, read_statistics))
        stack.enter_context(_DeviceArguments(watch))
        stack.enter_context(watch)
        yield watch


def move_to_pretended_device(model: nn.Module) -> None:
    """Move the weights of a model to the pretended device.

    Args:
        model: of the CPU.
    """
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                held = PretendedTensor(parameter.detach().clone())
                module._parameters[name] = nn.Parameter(held, requires_grad=parameter.requires_grad)


def _is_cuda(device: Any) -> bool:
    if not isinstance(device, str | torch.device):
        return False
    try:
        return torch.device(device).type == "cuda"
    except RuntimeError:
        # Another text, such as a number's type.
        return False


def _waits(name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    if name == "repeat_interleave":
        return "Tensor" in str(function) and kwargs.get("output_size") is None
    if name == "segment_reduce":
        return not kwargs.get("unsafe")
    if name in ("index", "index_put", "index_put_"):
        return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])
    return name in WAITING


def _is_unordered(name: str, args: Any) -> bool:
    """Return whether an operation adds several floats to one place by atomic operations.

    Sums of zeros have no order. ``index_put_`` sorts before it accumulates.
    """
    if name.startswith("replication_pad") and name.endswith("backward"):
        return True
    if name.rstrip("_") not in ("index_add", "scatter_add"):
        return False
    _, dim, index, source, *_ = args
    if not source.dtype.is_floating_point or dim != 0:
        return bool(source.dtype.is_floating_point)
    is_zero = (source == 0).flatten(1).all(1) if source.dim() > 1 else source == 0
    places = index[~is_zero] if index.dim() == 1 else index
    return len(places.unique(dim=0)) < len(places)


def _place() -> str:
    """Return the place in the package that an operation comes from, as ``file function``."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PACKAGE):
            return f"{Path(code.co_filename).name} {code.co_name}"
        frame = frame.f_back
    return "elsewhere"
