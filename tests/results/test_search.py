"""What the records of a search say of a net's rate, against what the judged record says."""

import made_up

from bench.store.record import Record

OVERFLOWS = {"train_loss": float("nan")}


def searched(diverges: bool) -> list[Record]:
    """One net, judged at the lowest of three rates; its record says that the net diverges at each."""
    said = {"search": {"digest": "d", "state": "hopeless", "tried": [1e-5, 1e-3, 1e-1]}}
    judged = made_up.trial("plain", 258, 0, lr=1e-5, lr_from="search")
    ended = {} if diverges else OVERFLOWS
    return [
        made_up.train_record(judged, 0.9, environment=said),
        *(
            made_up.train_record(
                made_up.trial("plain", 258, 100, lr=lr, purpose="search"), None if diverges else 0.9, **ended
            )
            for lr in (1e-5, 1e-3, 1e-1)
        ),
    ]


def test_a_net_that_guesses_at_every_rate_is_not_one_that_diverges() -> None:
    """Its loss is beyond what a float holds, which a judged record once called diverged; it ended each time."""
    records = searched(diverges=False)
    (row,) = made_up.frames(records).trials.itertuples()
    assert (row.hopeless, row.best_inside, row.rates_tried) == (False, True, 3)
    (alone,) = made_up.frames(records[:1]).trials.itertuples()
    assert (alone.hopeless, alone.best_inside) == (True, False), "without the search's records its own word counts"


def test_a_net_that_diverges_at_every_rate_is_hopeless() -> None:
    (row,) = made_up.frames(searched(diverges=True)).trials.itertuples()
    assert (row.hopeless, row.best_inside) == (True, False)
    assert row.search_seconds > 0
    assert row.search == "d", "which search it was stands beside the trial"
