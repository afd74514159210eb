"""Pages of made-up studies for tests: from records to the same `Source` that the command line makes."""

import dataclasses
from collections.abc import Sequence

from made_up import cost_record, frames, study_records, train_record, trial

from bench.plan.study import Study
from bench.store.record import Record, Status
from reports.claims import judge
from reports.page.context import Source

HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "</style>",
    "{{7*7}}",
    "\u202eevil",
)

PROBES = ("gradient_norms", "branch_ratio", "lesions")


def source(
    records: Sequence[Record],
    title: str = "Made-up networks",
    description: str = "A study that was never run.",
    name: str = "made-up",
    recipe: str = "lr = 0.05 # He et al. 2015\n",
    planned: Sequence[Record] | None = None,
) -> Source:
    """What a page is made of, from these records; `planned` says what the study asks for, if it is more."""
    trials = tuple(record.trial for record in (records if planned is None else planned))
    varied = tuple(f for f in ("architecture", "depth", "seed") if len({getattr(t, f) for t in trials}) > 1)
    study = Study(name, title, description, (), trials, varied=varied)
    tables = frames(records)
    return Source(study, name, recipe, tables, judge(tables))


def small() -> list[Record]:
    """Two arms, three depths, three seeds, cost and probes: each section of the page has something."""
    return study_records(("plain", "resnet"), (18, 66, 258), range(3), probes=PROBES)


def usual() -> Source:
    """A study like the default one: three arms, five depths, three seeds."""
    return source(study_records(("plain", "resnet", "preact"), (18, 66, 130, 258, 1002), range(3), probes=PROBES))


def hostile() -> Source:
    """One in which every text that a user can set is hostile."""
    records = []
    for i, name in enumerate(HOSTILE):
        asked = trial("resnet", 18, i)
        architecture = dataclasses.replace(asked.architecture, name=name, label=name, source=name, factory=name)
        asked = dataclasses.replace(asked, architecture=architecture, study=name, dataset=name)
        environment = dict.fromkeys(("device_name", "host", "os", "torch", "code", "data", "execution"), name)
        records.append(train_record(asked, message=name, environment=environment, started=name))
        records.append(train_record(dataclasses.replace(asked, seed=9), None, message=name, environment=environment))
        records.append(cost_record(asked, Status.ERROR))
    everything = " ".join(HOSTILE)
    return source(records, everything, everything, everything, everything)
