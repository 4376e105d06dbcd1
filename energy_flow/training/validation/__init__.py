"""Measurements of a model during a training: predictions, figures, the best model so far."""
