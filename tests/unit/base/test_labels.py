"""Labels: what is taken for one, and how many of them."""

import pytest

from weave.errors import LocalError
from weave.labels import check_labels, parse_labels

POD = "io.kubernetes.pod.name"


def test_labels_come_sorted_and_may_be_empty() -> None:
    assert parse_labels(["b=", "a=web", "example.com/App_1=x.y-z", "a=web"]) == {
        "a": "web", "b": "", "example.com/App_1": "x.y-z"}
    assert list(parse_labels(["b=1", "a=2"])) == ["a", "b"]


def test_the_name_of_a_pod_fits() -> None:
    assert parse_labels([f"{POD}={'a' * 253}"])


@pytest.mark.parametrize("text", [
    "", "web", "=web", "a b=c", "-a=c", "a=c d", "a=-c", "a=c/d", "/a=b", "a/=b", "a/b/c=d", "Example.com/a=b",
    f"{'k' * 64}=v", f"{'p' * 254}/k=v", f"k={'v' * 254}", "ä=b", "a=ä", "a=b\n", "a..b/c=d",
])
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        parse_labels([text])


def test_one_key_has_one_value() -> None:
    with pytest.raises(LocalError, match="twice"):
        parse_labels(["a=1", "a=2"])


def test_labels_are_bounded_in_number_and_in_all() -> None:
    assert len(check_labels({f"k{n}": "v" for n in range(64)})) == 64
    with pytest.raises(LocalError, match="too many"):
        check_labels({f"k{n}": "v" for n in range(65)})
    with pytest.raises(LocalError, match="in all"):
        check_labels({f"k{n}": "v" * 253 for n in range(40)})
