"""What a projection consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A condition without which a projection would mislead, and what was found.

    Attributes:
        detail: a plain sentence with the number that decided.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What a fit would be at one threshold: for the plot of its parameters' stability.

    Attributes:
        threshold_ns: latencies of this or more exceed it.
        exceedances: wake-ups that do; ``clusters``: bursts of them, of which the latest is fitted.
        distinct: different latencies among the clusters' latest wake-ups.
        theta: extremal index: one divided by the mean number of exceedances in a burst.
        run_length: exceedances more activations apart belong to different bursts.
        shape: of the Pareto law, by maximum likelihood; ``scale_ns`` likewise.
        shape_error: asymptotic standard error of the shape.
        modified_scale_ns: scale minus shape times threshold: the same at every threshold above
            one from which the law holds.
        mean_excess_ns: mean of what the clusters' latest wake-ups exceed the threshold by.
        distance: Anderson-Darling statistic; ``p_value``: of such a misfit or a larger one.
        chosen: the projection uses it.
    """

    threshold_ns: int
    exceedances: int
    clusters: int
    distinct: int
    theta: float
    run_length: int
    shape: float
    shape_error: float
    scale_ns: float
    mean_excess_ns: float
    distance: float
    p_value: float
    chosen: bool = False

    @property
    def modified_scale_ns(self) -> float:
        """Scale that does not depend on the threshold if the law holds."""
        return self.scale_ns - self.shape * self.threshold_ns


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The law of the latest wake-ups of bursts above the chosen threshold.

    It is there for plots even if the projection is refused.

    Attributes:
        chosen: the threshold, and the law's shape and scale.
        shape_low: one-sided lower limit of the shape at the confidence; ``shape_high``: upper.
        shape_by_moments: the shape by L-moments, and ``scale_by_moments_ns``.
        clusters_per_activation: rate of bursts above the threshold.
        resolution_ns: latencies are multiples of it; 1 if they are exact.
    """

    chosen: Threshold
    shape_low: float
    shape_high: float
    shape_by_moments: float
    scale_by_moments_ns: float
    clusters_per_activation: float
    resolution_ns: int


@dataclass(frozen=True, kw_only=True)
class Level:
    """What a projection says about one time of operation.

    Attributes:
        horizon_ns: the time.
        value_ns: latency that bursts exceed once in that time, on average; None if refused.
        upper_ns: its upper limit at the confidence; None if refused.
        refused: why there is no level; empty if there is one.
    """

    horizon_ns: int
    value_ns: int | None
    upper_ns: int | None
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """The check on the trial itself: the first part predicts the maximum of the rest.

    Attributes:
        fitted_percent: share of the activations that was fitted.
        predicted_low_ns: the maximum of the rest lies between this
        predicted_high_ns: and this, with the probability of the confidence.
        observed_ns: the maximum of the rest.
        hit: it does.
    """

    fitted_percent: int
    predicted_low_ns: int
    predicted_high_ns: int
    observed_ns: int
    hit: bool


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A model-based projection under unchanged conditions, or why there is none.

    Attributes:
        gates: every condition that could be tested, in the order of testing.
        refused: the gates that failed, in words; empty if none did.
        thresholds: all that were tried, from the lowest; empty if it did not come to that.
        fit: of the chosen one; None if none was.  Likewise ``holdout``.
        levels: one per horizon, in the order asked for.
        note: what the numbers mean and what they cannot know; to be printed beside them.
    """

    confidence_percent: float
    gates: tuple[Gate, ...]
    refused: str
    thresholds: tuple[Threshold, ...]
    fit: Fit | None
    levels: tuple[Level, ...]
    holdout: HoldOut | None
    note: str
