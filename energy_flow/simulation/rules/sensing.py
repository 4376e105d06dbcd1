"""What a flow senses where it is (docs/simulation.md §2, ``sensing``).

Shape legend: N flows, B samples, S = H · W surface cells, C = 4 corners, K = 3 numbers: the
sample's initial energies at a place, and their slopes along x and y.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.simulation.corners import corner_offsets, corners_of


def make_fields(energy_BS: Tensor, width: int) -> Tensor:
    """Return the initial energies and their slopes at each cell, [B, S, K].

    A slope is half the difference of the two neighbours; a wall's cell is its own neighbour.

    Args:
        energy_BS: energies of the initial flows.
        width: W.
    """
    field_BHW = energy_BS.view(len(energy_BS), -1, width)
    padded = _repeat_edges(field_BHW)
    slope_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    slope_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return torch.stack((field_BHW, slope_x, slope_y), dim=-1).flatten(1, 2)


def sense(
    field_BSK: Tensor, sample_N: Tensor, position_N3: Tensor, width: int, height: int
) -> Tensor:
    """Return what flows sense, [N, K]: the fields at their x and y, bilinear between cells.

    Args:
        field_BSK: from :func:`make_fields`.
        sample_N: sample of each flow, int64.
        position_N3: positions.
        width: W.
        height: H.
    """
    cell_N, weight_NC = corners_of(position_N3, width, height)
    first_N = sample_N * field_BSK.shape[1] + cell_N
    row_NC = first_N.unsqueeze(1) + torch.tensor(corner_offsets(width), device=first_N.device)
    values_NCK = field_BSK.flatten(0, 1)[row_NC]
    # Written out: how a reduction groups four columns may depend on the row.
    parts = (values_NCK * weight_NC.unsqueeze(2)).unbind(1)
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


def _repeat_edges(field_BHW: Tensor) -> Tensor:
    """Return fields with each edge repeated once, [B, H + 2, W + 2]."""
    if field_BHW.device.type == "cpu":
        padded = torch.nn.functional.pad(field_BHW.unsqueeze(1), (1, 1, 1, 1), mode="replicate")
        return padded.squeeze(1)
    # On a CUDA device, the backward pass of padding adds gradients in any order.
    rows, columns = (
        torch.arange(-1, length + 1, device=field_BHW.device).clamp(0, length - 1)
        for length in field_BHW.shape[1:]
    )
    return field_BHW[:, rows.unsqueeze(1), columns]
