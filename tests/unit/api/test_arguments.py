"""What clients send, and how it is refused where it does not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.api.arguments import FORM, JSON, MAX_TEXT, read_arguments
from weave.api.operations import Field, Operation, Shape
from weave.errors import LocalError


async def _nothing(call: object) -> object:
    raise AssertionError("not called")


OPERATION = Operation("PUT", "/x", "", _nothing, "", (  # type: ignore[arg-type]
    Field("name", Shape.TEXT, "", "a"),
    Field("on", Shape.FLAG, "", example=True),
    Field("size", Shape.NUMBER, "", 1, minimum=2, maximum=100),
    Field("items", Shape.TEXTS, "", ("a",)),
))


def read(query: bytes = b"", body: bytes = b"", kind: str = JSON) -> dict[str, object]:
    return dict(read_arguments(OPERATION, query, kind, body))


@pytest.mark.parametrize(("query", "body", "kind", "expected"), [
    (b"", b"", JSON, {}),
    (b"name=a%20b&on=false&size=7&items=x&items=y", b"", JSON,
     {"name": "a b", "on": False, "size": 7, "items": ("x", "y")}),
    (b"on", b"", JSON, {"on": True}),
    (b"name=", b"", JSON, {"name": ""}),
    (b"", b"name=a+b", FORM, {"name": "a b"}),
    (b"", b'{"name": "\\u00e9", "on": true, "size": 2, "items": []}', JSON,
     {"name": "é", "on": True, "size": 2, "items": ()}),
    (b"", b'{"name": null}', JSON, {}),
    (b"", b"{}", "", {}),
    (b"size=7", b'{"name": "a"}', "application/json; charset=utf-8", {"size": 7, "name": "a"}),
])
def test_reads(query: bytes, body: bytes, kind: str, expected: dict[str, object]) -> None:
    assert read(query, body, kind) == expected


@pytest.mark.parametrize(("query", "body", "kind", "complaint"), [
    (b"what=1", b"", JSON, "'what' is not known here; this takes name, on, size, items"),
    (b"name=a&name=b", b"", JSON, "'name' is given twice"),
    (b"name=a", b'{"name": "b"}', JSON, "in the query and in the body"),
    (b"on=maybe", b"", JSON, "true or false"),
    (b"size=1", b"", JSON, "from 2 to 100"),
    (b"size=-5", b"", JSON, "from 2 to 100"),
    (b"size=%D9%A3", b"", JSON, "from 2 to 100"),
    (b"size=" + b"9" * 5000, b"", JSON, "from 2 to 100"),
    (b"name=%00", b"", JSON, "printable"),
    (b"name=%ff", b"", JSON, "cannot be read"),
    (b"name=\xff", b"", JSON, "cannot be read"),
    (b"&".join(b"items=%d" % i for i in range(300)), b"", JSON, "cannot be read"),
    (b"", b"name=a", "text/html", "should be application/json"),
    (b"", b"{", JSON, "is not JSON"),
    (b"", b"\xff\xfe", JSON, "is not JSON"),
    (b"", b"[" * 60000, JSON, "is not JSON"),
    (b"", b"[]", JSON, "should be a JSON object"),
    (b"", b"7", JSON, "should be a JSON object"),
    (b"", b'{"size": NaN}', JSON, "is not JSON"),
    (b"", b'{"size": ' + b"9" * 5000 + b"}", JSON, "is not JSON"),
    (b"", b'{"size": true}', JSON, "whole number"),
    (b"", b'{"size": 7.0}', JSON, "whole number"),
    (b"", b'{"size": "7"}', JSON, "whole number"),
    (b"", b'{"on": "true"}', JSON, "flag"),
    (b"", b'{"on": 1}', JSON, "flag"),
    (b"", b'{"name": 1}', JSON, "string"),
    (b"", b'{"name": "\\ud800"}', JSON, "printable"),
    (b"", b'{"name": "' + b"a" * (MAX_TEXT + 1) + b'"}', JSON, "up to 1024"),
    (b"", b'{"items": "a"}', JSON, "list"),
    (b"", b'{"items": [1]}', JSON, "list"),
    (b"", b'{"items": {}}', JSON, "list"),
    (b"", b'{"name": "a", "name": "b"}', JSON, "twice"),
])
def test_refuses(query: bytes, body: bytes, kind: str, complaint: str) -> None:
    with pytest.raises(LocalError) as caught:
        read(query, body, kind)
    assert complaint in str(caught.value)


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from([JSON, FORM, "", "text/plain"]))
def test_refuses_anything_else_in_one_way(query: bytes, body: bytes, kind: str) -> None:
    try:
        values = read(query, body, kind)
    except LocalError:
        return
    assert set(values) <= {"name", "on", "size", "items"}
