"""Selectors of labels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.policy.naive import _selects as naively_selects
from tests.unit.npc.worlds import labels, selectors
from weave.npc.manifest_fields import ManifestError
from weave.npc.selectors import EVERYTHING, describe, parse_selector, selects


@settings(max_examples=100, deadline=None)
@given(selectors(), labels)
def test_selects_what_the_specification_says(selector, subject):
    assert selects(parse_selector(selector, "it"), subject) is naively_selects(selector, subject)


@given(st.permutations(["a", "b"]))
def test_selectors_that_mean_the_same_are_equal(values):
    one = {"matchLabels": {"x": "1", "y": "2"}, "matchExpressions": [
        {"key": "z", "operator": "In", "values": values}, {"key": "x", "operator": "In", "values": ["1"]}]}
    other = {"matchLabels": {"y": "2", "x": "1"}, "matchExpressions": [
        {"key": "z", "operator": "In", "values": ["a", "b", "a"]}]}
    assert parse_selector(one, "it") == parse_selector(other, "it")


@pytest.mark.parametrize("nothing", [None, {}, {"matchLabels": None}, {"matchLabels": {}, "matchExpressions": []}])
def test_nothing_asked_selects_everything(nothing):
    assert parse_selector(nothing, "it") == EVERYTHING


@pytest.mark.parametrize(("selector", "words"), [
    ({}, ""), ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
    ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "1"]}]}, "a in (1,2)"),
    ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, "a!=1"),
    ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1", "2"]}]}, "a notin (1,2)"),
    ({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"}]}, "a,!b"),
])
def test_selectors_are_told_as_kubectl_writes_them(selector, words):
    assert describe(parse_selector(selector, "it")) == words


@pytest.mark.parametrize("selector", [
    [], "a=b", {"matchLabels": []}, {"matchLabels": {"": "a"}}, {"matchLabels": {"a": 1}}, {"matchLabels": {"a": None}},
    {"matchLabels": {"a": "1", "b": None}}, {"matchExpressions": [None]},
    {"matchLabels": {"a": "\x1b[31m"}}, {"matchLabels": {"a": "x" * 64}},
    {"matchExpressions": [{"operator": "Exists"}]},
])
def test_what_is_no_selector_is_refused(selector):
    with pytest.raises(ManifestError):
        parse_selector(selector, "it")
