"""Ablations as callers see them."""

from __future__ import annotations

from typing import Any

from service.ablations.active_ablation import ActiveAblation
from service.json_encoding import format_timestamp
from service.runs.views import render_model_reference


def render_ablation(ablation: ActiveAblation) -> dict[str, Any]:
    """Return an ablation as a resource."""
    plan = ablation.plan
    model, dataset = plan.model, plan.dataset
    problem = ablation.problem
    return {
        "ablation_id": ablation.ablation_id,
        "model": render_model_reference(
            model.name, model.trained, model.config.coord_version, model.digest
        ),
        "dataset": {
            "name": dataset.name,
            "digest": dataset.content.digest,
            "rows": list(plan.rows),
        },
        "resamples": plan.fields.resamples,
        "options": plan.fields.options,
        "state": ablation.state,
        "done": ablation.done,
        "total": ablation.total,
        "current": ablation.current,
        "created_at": format_timestamp(ablation.created_at),
        "started_at": format_timestamp(ablation.started_at),
        "ended_at": format_timestamp(ablation.ended_at),
        "result": ablation.result,
        "warnings": list(plan.config.warnings()),
        "error": None if problem is None else problem.to_dict(),
        "url": f"/v1/models/{model.name}/ablations/{ablation.ablation_id}",
    }
