"""Ablations: models measured with parts of their flows switched off."""
