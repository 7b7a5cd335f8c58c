import pytest

from weave.lab.names import lab_of, namespace


@pytest.mark.parametrize(("lab", "parts"), [
    ("demo", ("net",)), ("demo", ("h1",)), ("demo-2", ("h1",)), ("demo", ("h1", "web-h2")), ("a-net", ("h12", "h1.x")),
    ("h1", ("h1",)), ("demo-2", ("h3", "a-b-c")),
])
def test_a_namespace_tells_its_lab(lab: str, parts: tuple[str, ...]) -> None:
    assert lab_of(namespace(lab, *parts)) == lab


@pytest.mark.parametrize("netns", ["blue", "weavelab-", "weavelab-demo", "weavelab-demo-x1"])
def test_other_namespaces_are_nobodys(netns: str) -> None:
    assert lab_of(netns) is None
