"""``Optimiser``: AdamW over the weights of a model, with clipping, and its state as tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from energy_flow.training.config import OptimiserConfig

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Optimiser:
    """AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).

    Weights of linear and recurrent layers decay; biases, norms, encodings and scales do not.

    Args:
        model: whose parameters are optimised.
        config: settings.
    """

    def __init__(self, model: nn.Module, config: OptimiserConfig) -> None:
        self._parameters = dict(model.named_parameters())
        decaying: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self._parameters.items():
            is_layer = parameter.ndim > 1 and name.rpartition(".")[2].startswith("weight")
            (decaying if is_layer else others).append(parameter)
        groups = [
            {"params": decaying, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._clip_norm = config.clip_norm
        self._adamw = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            fused=True,
        )

    def step(self, learning_rate: float, gradient_norm: float) -> None:
        """Change the weights by their gradients, and drop the gradients.

        Args:
            learning_rate: of this step.
            gradient_norm: 2-norm of all gradients together; above the clipping norm, they are
                scaled down to it.
        """
        if self._clip_norm is not None and gradient_norm > self._clip_norm:
            gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
            torch._foreach_mul_(gradients, self._clip_norm / gradient_norm)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Drop the gradients without using them."""
        self._adamw.zero_grad(set_to_none=True)

    def moments(self) -> dict[str, Tensor]:
        """Return the state as tensors named ``<parameter>.<moment>``; none before a step."""
        return {
            f"{name}.{moment}": self._adamw.state[parameter][moment]
            for name, parameter in self._parameters.items()
            if parameter in self._adamw.state
            for moment in MOMENTS
        }

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Replace the state.

        Args:
            moments: what :meth:`moments` has returned.
        """
        for name, parameter in self._parameters.items():
            if f"{name}.{MOMENTS[0]}" in moments:
                self._adamw.state[parameter] = {
                    moment: moments[f"{name}.{moment}"] for moment in MOMENTS
                }
