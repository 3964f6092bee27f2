"""Who proposes, in turn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ikd.config import Recipe
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.order import Order, order_of
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.trials import Proposal, TrialRecord
from tests.unit.sweep.conftest import make_space


def tried(number: int, proposal: Proposal) -> TrialRecord:
    print_ = proposal.recipe.fingerprint()
    return TrialRecord(number, "", proposal.anchors, proposal.values, proposal.in_space, print_, Path(), "failed")


def test_the_first_that_has_a_proposal_is_followed(recipe: Recipe) -> None:
    one, other = Proposal({}, recipe), Proposal({"distill.host": "mgd"}, recipe)
    asked: list[str] = []

    def first(records: object) -> Proposal | None:
        asked.append("first")
        return None if records else one

    def second(records: object) -> Proposal:
        asked.append("second")
        return other

    order = Order(first, second)
    assert order.next([]) is one
    assert asked == ["first"], "the others are not even asked: sampling takes time"
    assert order.next([tried(0, one)]) is other


def test_nobody_has_a_proposal() -> None:
    assert Order().next([]) is None
    assert Order(lambda records: None).next([]) is None


def test_anchors_come_before_the_search(recipe: Recipe) -> None:
    space = make_space()
    records: list[TrialRecord] = []
    order = order_of(space, recipe, ())
    for number in range(4):
        proposal = order.next(records)
        assert isinstance(proposal, Proposal)
        records.append(tried(number, proposal))
    assert [one.anchors for one in records] == [("paper",), ("student_alone",), (), ()]
    expected = propose(space, recipe, records[:2])
    assert expected is not None
    assert records[2].fingerprint == expected.recipe.fingerprint()


def test_an_anchor_that_the_search_found_is_not_tried_again(recipe: Recipe) -> None:
    space = make_space()
    _, alone = anchor_proposals(space, recipe)
    found = replace(tried(0, alone), anchors=())
    proposal = order_of(space, recipe, ()).next([found])
    assert isinstance(proposal, Proposal)
    assert proposal.anchors == ("paper",)
    after = order_of(space, recipe, ()).next([found, tried(1, proposal)])
    assert isinstance(after, Proposal)
    assert after.anchors == ()
