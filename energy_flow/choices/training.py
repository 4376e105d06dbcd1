"""Names of a training."""

from __future__ import annotations

from energy_flow.choices.choice import Choice


class BackPropagationMode(Choice):
    """What a training keeps of a run for its gradients; ``training.gradient_modes`` does it."""

    FULL = "full"
    CHECKPOINTED = "checkpointed"
    TRUNCATED = "truncated"


class Decay(Choice):
    """How a value goes from its peak to its end; ``training.schedules`` computes it."""

    LINEAR = "linear"
    COSINE = "cosine"


class Negatives(Choice):
    """The targets among which the loss term ``info_nce`` looks for a row's own target."""

    BATCH = "batch"
    TRAIN = "train"


class ComparedOutput(Choice):
    """The output of a run that a loss term compares with the targets."""

    EMBEDDING = "embedding"
    PLANES = "planes"


class InitialHead(Choice):
    """How the energy head of an untrained model begins; ``training.initial_weights`` does it."""

    DRAWN = "drawn"
    ZERO = "zero"


class InitialMappers(Choice):
    """How the mappers of an untrained model begin; ``training.initial_weights`` does it."""

    DRAWN = "drawn"
    ISOMETRY = "isometry"


class ValidationMetric(Choice):
    """Figure of a validation by which a training may stop early; larger is better."""

    COSINE = "cosine"
    TOP_1 = "top_1"
    TOP_10 = "top_10"
    R2 = "r2"


class TrainingEvent(Choice):
    """Kind of an event of a training."""

    STEP = "step"
    MEASURING = "measuring"
    VALIDATION = "validation"
    END = "end"
