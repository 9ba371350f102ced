"""Verdicts and their evidence in words with numbers."""

from __future__ import annotations

from typing import Any

from oip.gallery.escape import whole

MEANINGS = {
    "responsive": "White noise excites the map already.",
    "revived": (
        "White noise leaves the map silent; noise of several wavelengths or the ascent found what "
        "excites it."
    ),
    "reachable-only": "The ascent excites the map, no image of the data does.",
    "dead": (
        "The response stayed at zero for every start and for the ascent of the pre-activation."
    ),
    "failed": "The response is not a finite number, mostly because weights are NaN or infinite.",
}
"""What each verdict says."""

NO_OIP = "The map was ranked, but no OIP was grown for it."


def sentences(evidence: dict[str, Any], patience: int | None = None) -> list[str]:
    """A map's verdict and what it rests on.

    Args:
        evidence: as `MapOip.evidence` gives it; empty where there is no OIP.
        patience: the last steps that are looked at to call an ascent converged, where known.
    """
    if not evidence:
        return [NO_OIP]
    verdict = str(evidence["verdict"])
    told: list[str] = [MEANINGS.get(verdict, verdict)]
    if evidence["provably_dead"]:
        told.append("Its weights prove it: no input can open the map.")
    if verdict not in ("dead", "failed"):
        told += _scores(evidence)
        told.append(_end(evidence, patience))
    told += _stability(evidence)
    return told


def _scores(evidence: dict[str, Any]) -> list[str]:
    score, data = evidence["score"], evidence["data_score"]
    told = []
    noise = [
        f"{name} reached {_figure(evidence[key])}"
        for name, key in (("white noise", "white_score"), ("noise of all kinds", "screened_score"))
        if evidence[key] is not None
    ]
    before = f"; before the ascent {' and '.join(noise)}" if noise else ""
    told.append(f"Score {_figure(score)}{before}.")
    if data is not None and score is not None:
        ratio = f", {score / data:.2g} times as much" if data > 0 else ""
        told.append(
            f"The best data image at the same mean and deviation reaches {_figure(data)}; "
            f"the OIP {_figure(score)}{ratio}."
        )
    if evidence["data_active"] is not None:
        told.append(f"{100 * evidence['data_active']:.3g} % of the data images excite the map.")
    if evidence["saturated"]:
        told.append("The response is at the upper limit of its activation.")
    return told


def patience_of(info: dict[str, Any]) -> int | None:
    """Steps over which a score must rise not to be called converged, where run.json knows them."""
    told = (info.get("settings") or {}).get("reconstruct") or {}
    return whole(told.get("patience"))


def _end(evidence: dict[str, Any], patience: int | None) -> str:
    steps = evidence["steps"]
    if evidence["converged"] and evidence["reason"] == "budget":
        last = "of them" if patience is None else str(patience)
        return f"All {steps} steps were used; the score rose by less than 1 % over the last {last}."
    if evidence["converged"]:
        return f"The ascent ended after {steps} steps because it gained no more."
    if evidence["reason"] == "budget":
        return f"Not converged: the score still rose when the {steps} steps were used up."
    return f"Not converged: the ascent stalled after {steps} steps."


def _stability(evidence: dict[str, Any]) -> list[str]:
    stability, percentile = evidence["stability"], evidence["null_percentile"]
    if stability is None:
        return []
    told = f"Its starts agree with a median similarity of {stability:.2f}"
    if percentile is None:
        return [f"{told}; there are too few other maps to hold it against."]
    return [
        f"{told}, above {percentile:.3g} % of {evidence['n_null']} similarities between this map "
        "and others of its layer."
    ]


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
