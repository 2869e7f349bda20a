"""A slot always comes back to the last model that was proven."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.succession import Loaded, Offer, Succession
from edge_bundle.archive import Bundle
from edge_bundle.inference import Inference


def model(name: str) -> Loaded:
    """A model of which nothing but who it is matters here."""
    return Loaded(cast("Bundle", name), cast("Inference", None))


A, B, C = (model(name) for name in "abc")


def take(models: Succession, offer: Offer) -> None:
    """Let an offered model run, as a slot does."""
    models.offer(offer)
    drawn = models.draw()
    assert drawn is not None
    models.admit(drawn)
    models.running = drawn.loaded


@pytest.fixture
def models() -> Succession:
    """A slot in which one proven model runs."""
    made = Succession()
    take(made, Offer(A))
    return made


def test_proven_model_needs_nothing_to_fall_back_to(models: Succession) -> None:
    assert (models.running, models.fallback, models.trial) == (A, None, False)


def test_model_under_trial_keeps_the_one_before(models: Succession) -> None:
    take(models, Offer(B, trial=True))
    assert (models.running, models.fallback) == (B, A)
    assert models.fail() is A
    assert (models.fallback, models.trial) == (None, False)


def test_model_named_to_fall_back_to_comes_before_the_one_that_ran(models: Succession) -> None:
    take(models, Offer(B, trial=True, fallback=C))
    assert models.fallback is C


def test_settled_model_has_no_way_back(models: Succession) -> None:
    take(models, Offer(B, trial=True))
    models.settle()
    assert models.fail() is None
    assert models.running is B


def test_trial_of_the_first_model_that_fails_leaves_nothing() -> None:
    models = Succession()
    take(models, Offer(A, trial=True))
    assert models.fail() is None
    assert models.running is None


def test_offer_that_never_ran_is_what_the_next_one_falls_back_to(models: Succession) -> None:
    models.offer(Offer(B))
    models.offer(Offer(C, trial=True))
    assert models.offered == Offer(C, True, B)


def test_trial_that_never_ran_hands_on_what_it_would_fall_back_to(models: Succession) -> None:
    models.offer(Offer(B, trial=True, fallback=A))
    models.offer(Offer(C, trial=True))
    assert models.offered == Offer(C, True, A)


def test_without_room_the_running_model_stays_and_else_the_named_one_runs(
    models: Succession,
) -> None:
    assert models.refuse(Offer(B, trial=True, fallback=C)) is None
    assert Succession().refuse(Offer(B, trial=True, fallback=C)) is C
    assert Succession().refuse(Offer(B)) is None


@pytest.mark.parametrize("ran", [False, True])
def test_change_that_breaks_off_goes_back(models: Succession, ran: bool) -> None:
    """Whether it broke off before or behind the moment from which the new model runs."""
    models.offer(Offer(B, trial=True))
    offer = models.draw()
    assert offer is not None
    models.admit(offer)
    if ran:
        models.running = B
    assert models.break_off(offer) is A
    assert (models.running, models.fallback, models.trial) == (None, None, False)


@given(st.lists(st.tuples(st.sampled_from(["trial", "settle", "fail"]), st.sampled_from("xyz"))))
def test_whatever_happens_a_failed_trial_goes_back_to_the_last_proven_model(
    events: list[tuple[str, str]],
) -> None:
    models, proven = Succession(), A
    take(models, Offer(A))
    for event, name in events:
        if event == "trial":
            take(models, Offer(model(name), trial=True))
        elif event == "settle":
            models.settle()
            assert models.running is not None
            proven = models.running
        elif models.trial:
            models.running = models.fail()
            assert models.running is proven
        assert models.running is not None
        assert models.trial or models.running is proven
        assert models.fallback is (proven if models.trial else None)
