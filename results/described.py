"""What each column holds, in a phrase: read where its field is documented, in the docstring of its class."""

import inspect
import re

from bench.plan.trial import Trial
from bench.store.parts import Ceilings, Counted, Epoch, Kernels, Operator, Place, Result, Sizes
from results.columns import Cell, InDoubt, Named, Reading, ReadOf
from results.convergence import Ending
from results.metrics import METRICS
from results.rows import Drawn, Ended, Priced
from results.search import Searched

# Of these tables some columns are named like others elsewhere, and mean something of their own.
_OWN = {"epochs": (Epoch,), "probes": (Reading,), "operators": (Operator,), "cells": (Cell,)}
_ALL = (
    *(Trial, Drawn, Place, ReadOf, Kernels, Sizes, Ended, Result, Ending, Searched, Named),
    *(Counted, Ceilings, Priced, InDoubt),
)
# What stands behind a metric's name in a column of `cells` and others.
_OF = {
    "mean": "mean over the seeds that ended",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
}


def described(table: str, column: str) -> tuple[str, str, str]:
    """Label, unit and which direction is better of a table's column; the last two of metrics only.

    Raises:
        KeyError: It is documented nowhere.
    """
    own = {name: words for form in _OWN.get(table, ()) for name, words in _attributes(form).items()}
    stem, _, end = column.rpartition("_")
    metric = METRICS.get(column) or METRICS.get(stem if end in _OF else "")
    if column in own:
        return own[column], metric.unit if metric else "", metric.better if metric else ""
    if metric:
        of = _OF[end] if metric.column == stem else ""
        return ", ".join(filter(None, (metric.label, of))), metric.unit, metric.better
    return next(words[column] for form in _ALL if column in (words := _attributes(form))), "", ""


def _attributes(form: type) -> dict[str, str]:
    """The first sentence of what a class's docstring says of each of its fields."""
    section = (inspect.getdoc(form) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.MULTILINE)
    return {name: re.split(r"\.(?:\s+(?=[A-Z])|$)", " ".join(words.split()))[0] for name, words in found}
