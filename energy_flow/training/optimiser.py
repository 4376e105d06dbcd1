"""AdamW over a model's weights: which of them decay, clipping, and its state as tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from energy_flow.training.config import OptimiserChoice

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Optimiser:
    """AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).

    Weights of linear and recurrent layers decay; biases, norms, encodings and scales do not.
    """

    def __init__(self, model: nn.Module, choice: OptimiserChoice) -> None:
        self._parameters = dict(model.named_parameters())
        decaying: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self._parameters.items():
            is_layer = parameter.ndim > 1 and name.rpartition(".")[2].startswith("weight")
            (decaying if is_layer else others).append(parameter)
        groups = [
            {"params": decaying, "weight_decay": choice.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._clip_norm = choice.clip_norm
        self._adamw = torch.optim.AdamW(
            groups,
            lr=choice.learning_rate,
            betas=(choice.beta1, choice.beta2),
            eps=choice.epsilon,
            fused=True,
        )

    def step(self, learning_rate: float, gradient_norm: float) -> None:
        """Moves the weights along their gradients, which are forgotten.

        Args:
            gradient_norm: 2-norm of all gradients, which are scaled down to the clipping norm.
        """
        if self._clip_norm is not None and gradient_norm > self._clip_norm:
            gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
            torch._foreach_mul_(gradients, self._clip_norm / gradient_norm)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self.forget()

    def forget(self) -> None:
        """Drops the gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def moments(self) -> dict[str, Tensor]:
        """What it remembers, by parameter and name; nothing before the first step."""
        return {
            f"{name}.{moment}": self._adamw.state[parameter][moment]
            for name, parameter in self._parameters.items()
            if parameter in self._adamw.state
            for moment in MOMENTS
        }

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Goes on from what :meth:`moments` gave."""
        for name, parameter in self._parameters.items():
            if f"{name}.{MOMENTS[0]}" in moments:
                self._adamw.state[parameter] = {
                    moment: moments[f"{name}.{moment}"] for moment in MOMENTS
                }
