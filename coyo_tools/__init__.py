"""Turn COYO-700M metadata into the training set you need.

Every command of `coyo` is a function here, with the same name and the same settings:

    import coyo_tools

    coyo_tools.filter("metadata", "subset", min_clip_l14=0.25, max_watermark=0.3)
    coyo_tools.download("subset", "shards", coyo_tools.DownloadSettings(image_size=256))
    coyo_tools.score("shards", "scores", coyo_tools.ScoreSettings(columns=("image_phash",)))
    coyo_tools.compare("scores", "subset", "comparison")
    coyo_tools.report(["subset", "shards", "scores", "comparison"], "report.html")

Importing this loads none of the heavy packages; each verb loads what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coyo_tools.verbs.census import CensusResult, census
    from coyo_tools.verbs.compare import Comparison, compare
    from coyo_tools.verbs.compare_presets import PresetOverlap, compare_presets
    from coyo_tools.verbs.demo import demo
    from coyo_tools.verbs.diff import Difference, diff
    from coyo_tools.verbs.download import DownloadResult, download
    from coyo_tools.verbs.filter import FilterResult, filter
    from coyo_tools.verbs.inspect import Inspection, inspect
    from coyo_tools.verbs.plan import FilterPlan, plan
    from coyo_tools.verbs.presets import presets
    from coyo_tools.verbs.push import PushResult, push
    from coyo_tools.verbs.report import report
    from coyo_tools.verbs.run import RunResult, run
    from coyo_tools.verbs.score import ScoreResult, score
    from coyo_tools.verbs.stats import StatsResult, stats
    from coyo_tools.verbs.to_datasets import to_datasets
    from coyo_tools.verbs.weights import WeightsState, fetch_weights, verify_weights, weights
    from coyo_tools.words.config import (
        CensusSettings,
        CompareSettings,
        DiffSettings,
        DownloadSettings,
        FilterSettings,
        OverlapSettings,
        PlanSettings,
        PushSettings,
        ReportSettings,
        ScoreSettings,
        StatsSettings,
    )
    from coyo_tools.words.errors import CoyoError

_WHERE = {
    "inspect": "verbs.inspect",
    "Inspection": "verbs.inspect",
    "filter": "verbs.filter",
    "FilterResult": "verbs.filter",
    "diff": "verbs.diff",
    "Difference": "verbs.diff",
    "download": "verbs.download",
    "DownloadResult": "verbs.download",
    "census": "verbs.census",
    "CensusResult": "verbs.census",
    "score": "verbs.score",
    "ScoreResult": "verbs.score",
    "compare": "verbs.compare",
    "Comparison": "verbs.compare",
    "report": "verbs.report",
    "push": "verbs.push",
    "PushResult": "verbs.push",
    "run": "verbs.run",
    "RunResult": "verbs.run",
    "plan": "verbs.plan",
    "FilterPlan": "verbs.plan",
    "presets": "verbs.presets",
    "compare_presets": "verbs.compare_presets",
    "PresetOverlap": "verbs.compare_presets",
    "demo": "verbs.demo",
    "stats": "verbs.stats",
    "StatsResult": "verbs.stats",
    "to_datasets": "verbs.to_datasets",
    "weights": "verbs.weights",
    "fetch_weights": "verbs.weights",
    "verify_weights": "verbs.weights",
    "WeightsState": "verbs.weights",
    "StatsSettings": "words.config",
    "FilterSettings": "words.config",
    "DiffSettings": "words.config",
    "OverlapSettings": "words.config",
    "PlanSettings": "words.config",
    "CensusSettings": "words.config",
    "DownloadSettings": "words.config",
    "ScoreSettings": "words.config",
    "CompareSettings": "words.config",
    "PushSettings": "words.config",
    "ReportSettings": "words.config",
    "CoyoError": "words.errors",
}

__all__ = [
    "CensusResult",
    "CensusSettings",
    "CompareSettings",
    "Comparison",
    "CoyoError",
    "DiffSettings",
    "Difference",
    "DownloadResult",
    "DownloadSettings",
    "FilterPlan",
    "FilterResult",
    "FilterSettings",
    "Inspection",
    "OverlapSettings",
    "PlanSettings",
    "PresetOverlap",
    "PushResult",
    "PushSettings",
    "ReportSettings",
    "RunResult",
    "ScoreResult",
    "ScoreSettings",
    "StatsResult",
    "StatsSettings",
    "WeightsState",
    "census",
    "compare",
    "compare_presets",
    "demo",
    "diff",
    "download",
    "fetch_weights",
    "filter",
    "inspect",
    "plan",
    "presets",
    "push",
    "report",
    "run",
    "score",
    "stats",
    "to_datasets",
    "verify_weights",
    "weights",
]


def __getattr__(name: str) -> Any:
    """Load a verb, result or settings class on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module 'coyo_tools' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"coyo_tools.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
