"""Dtypes of matrix products by device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from energy_flow.runtime.device import multiplies_bfloat16, product_dtype
from energy_flow.runtime.limits import device_memory_limit


@pytest.mark.parametrize(
    ("processor", "capabilities", "can"),
    [
        ("AVX2 alone", {"architecture": "x86_64", "avx2": True, "avx512_bf16": False}, False),
        ("AVX-512 alone", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ("AVX-512 with bfloat16", {"avx512_f": True, "avx512_bf16": True}, True),
        ("AMX", {"avx512_bf16": False, "amx_bf16": True}, True),
        ("Arm without", {"architecture": "arm64", "neon": True, "bf16": False}, False),
        ("Arm with bfloat16", {"architecture": "arm64", "neon": True, "bf16": True}, True),
        ("unknown", {}, False),
    ],
    ids=str,
)
def test_bfloat16_is_multiplied_where_there_are_instructions_for_it(
    processor: str, capabilities: dict[str, Any], can: bool
) -> None:
    assert multiplies_bfloat16(capabilities) is can


def test_products_are_in_the_dtype_of_their_numbers_elsewhere() -> None:
    for device in ("cpu", "cuda"):
        for dtype in (torch.float32, torch.float64):
            assert product_dtype(dtype, torch.device(device)) == dtype
    assert product_dtype(torch.bfloat16, torch.device("cuda")) == torch.bfloat16


def test_the_limit_of_a_device_is_a_share_of_what_others_leave() -> None:
    assert device_memory_limit(0.5, free=60, total=100, reserved=20) == 40
    assert device_memory_limit(1.0, free=100, total=100, reserved=20) == 100
