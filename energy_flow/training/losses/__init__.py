"""Loss terms, one a file. A new one needs its file and a line in ``losses.Losses``."""

from energy_flow.training.losses.losses import Losses
from energy_flow.training.losses.term import LossTerm, Predictions

__all__ = ["LossTerm", "Losses", "Predictions"]
