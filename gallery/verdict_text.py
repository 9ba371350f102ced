"""Verdicts and their evidence as sentences with numbers."""

from __future__ import annotations

from oip.ascent.results import VERDICT_MEANINGS, WITHOUT_PATTERN, MapEvidence
from oip.core.formats import RunFile
from oip.core.layer_formats import LegibilityFile, MapLegibility, PresetChoice, PresetsFile
from oip.gallery.escape import plain_name, shown_figure, whole_number

_ALIKE = ", at the same mean and contrast"
"""How images of the data are compared with a pattern; beside it stand responses to them as is."""
NO_OIP = "The map was ranked, but no OIP was grown for it."


def sentences(evidence: MapEvidence | None, patience: int | None = None) -> list[str]:
    """Return a map's verdict and the evidence for it, sentence by sentence.

    Args:
        evidence: None where there is no OIP.
        patience: the last steps that decide whether an ascent has converged, where known.
    """
    if evidence is None:
        return [NO_OIP]
    verdict = evidence.verdict
    text = [VERDICT_MEANINGS.get(verdict, verdict)]
    if evidence.objective:
        text[0] = text[0].replace("The map", "The objective").replace("the map", "the objective")
    if evidence.provably_dead:
        text.append("Its weights prove that no input can make it respond.")
    if verdict not in WITHOUT_PATTERN:
        text += [*_scores(evidence), _convergence(evidence, patience)]
    return text + _stability(evidence)


def headline(evidence: MapEvidence | None) -> str:
    """Return a map's verdict as one clause without a full stop; evidence as in `sentences`."""
    if evidence is None:
        return NO_OIP.rstrip(".")
    score, best = evidence.score, evidence.data_score
    if evidence.verdict in ("reachable-only", *WITHOUT_PATTERN) or score is None:
        return sentences(evidence)[0].rstrip(".")
    if evidence.objective:
        beside = "" if best is None else f"; the best image of the data has {shown_figure(best)}"
        return f"The objective is {shown_figure(score)} for this image{beside}"
    if best is None:
        return f"The map responds with {shown_figure(score)} to this pattern"
    if best > 0 and evidence.verdict != "never silent":
        times = f"{shown_figure(score / best)} times as strongly"
        return f"The map responds {times} to this pattern as to the best image of the data{_ALIKE}"
    values = f"{shown_figure(score)} to this pattern, with {shown_figure(best)}"
    return f"The map responds with {values} to the best image of the data{_ALIKE}"


NOT_JUDGED = {
    "silent": "it responds to too few images for a choice between them",
    "no OIP": "it has no OIP",
    "not finite": "its responses are not finite numbers",
}
"""Why a map has no legibility."""


def legibility_sentence(legibility: LegibilityFile, row: MapLegibility) -> str:
    """Return how legible a map's OIPs are, to whom, and beside what, as one sentence."""
    judge = plain_name(legibility.judge)
    judge = "a descriptor of edges (pixels)" if judge == "pixels" else judge
    if row.share is None:
        return f"Not judged by {judge}: {NOT_JUDGED.get(row.reason, plain_name(row.reason))}."
    texts = [f"95 %: {percent_text(row.low)} to {percent_text(row.high)}", "chance 50 %"]
    best = f"with the best images {percent_text(row.reference)}"
    if row.reference_same_count is not None:
        best += f", with as many of them as pictures {percent_text(row.reference_same_count)}"
    texts.append(best)
    if row.control is not None:
        texts.append(f"with pictures of other maps {percent_text(row.control)}")
    return (
        f"Shown these pictures, {judge} chooses the image that excites the map more "
        f"{percent_text(row.share)} "
        f"of the time ({'; '.join(texts)}), over {row.pairs} pairs of {legibility.samples} images."
    )


def preset_sentences(presets: PresetsFile | None, row: PresetChoice | None) -> list[str]:
    """Return which preset a map's pictures are of, where several were grown, as a sentence."""
    if presets is None or row is None:
        return []
    judge = plain_name(presets.judge)
    shares = ", ".join(
        f"{plain_name(name)} {percent_text(share) if share is not None else 'not judged'}"
        for name, share in row.shares.items()
    )
    sentence = f"Of the presets {', '.join(map(plain_name, row.shares))}, "
    sentence += f"the pictures of {plain_name(row.preset)} were kept"
    if all(share is None for share in row.shares.values()):
        return [f"{sentence}, without a choice: {judge} could judge none of them."]
    return [
        f"{sentence}, which {judge} read best (right choices over the {presets.samples} images "
        f"that served for this: {shares})."
    ]


def percent_text(share: float | None) -> str:
    """Return a share from 0 to 1 as `87 %`."""
    return "–" if share is None else f"{100 * share:.0f} %"


def patience_of(run: RunFile) -> int | None:
    """Return the steps over which a score must rise not to be called converged, if known."""
    settings = run.settings.reconstruct if run.settings is not None else None
    return whole_number((settings or {}).get("patience"))


def _scores(evidence: MapEvidence) -> list[str]:
    score, data_score = evidence.score, evidence.data_score
    from_zero = evidence.verdict != "never silent"
    by_noise = {"white noise": evidence.white_score, "noise of all kinds": evidence.screened_score}
    noise = [
        f"{name} reached {shown_figure(value)}"
        for name, value in by_noise.items()
        if value is not None
    ]
    noise_text = f"; before the ascent {' and '.join(noise)}" if noise else ""
    text = [f"Score {shown_figure(score)}{noise_text}."]
    if data_score is not None and score is not None:
        ratio = (
            f", {shown_figure(score / data_score)} times as much"
            if data_score > 0 and from_zero
            else ""
        )
        text.append(
            f"The best data image, at the same mean and standard deviation, reaches "
            f"{shown_figure(data_score)}; the OIP {shown_figure(score)}{ratio}."
        )
    if evidence.data_active is not None and from_zero:
        text.append(f"{100 * evidence.data_active:.3g} % of the data images excite the map.")
    if evidence.saturated:
        text.append("The response is at the upper limit of its activation.")
    return text


def _convergence(evidence: MapEvidence, patience: int | None) -> str:
    steps = evidence.steps
    if evidence.reason == "schedule":
        gain = "settled" if evidence.converged else "still rose"
        return f"It ran its full schedule of {steps} steps; at its end the score {gain}."
    if evidence.converged and evidence.reason == "budget":
        last = "of them" if patience is None else str(patience)
        return f"All {steps} steps were used; the score rose by less than 1 % over the last {last}."
    if evidence.converged:
        return f"The ascent converged after {steps} steps."
    if evidence.reason == "budget":
        return f"Not converged: the score still rose at the step limit, {steps}."
    return f"Not converged: the ascent stalled after {steps} steps."


def _stability(evidence: MapEvidence) -> list[str]:
    stability, percentile = evidence.stability, evidence.null_percentile
    if stability is None:
        return []
    text = f"Its starts agree with a median similarity of {stability:z.2f}"
    if percentile is None:
        return [f"{text}; there are too few other maps to compare it with."]
    return [
        f"{text}, above {percentile:.3g} % of {evidence.n_null} similarities between this map "
        "and others of its layer."
    ]
