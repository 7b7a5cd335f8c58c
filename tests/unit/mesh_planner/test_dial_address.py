import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.errors import LocalError
from weave.mesh.dial_address import dial_key, gossiped_key, key_host


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("10.0.0.2", "10.0.0.2:6783"),
        (" 10.0.0.2:7000 ", "10.0.0.2:7000"),
        ("Host1", "host1:6783"),
        ("host1.example.com.", "host1.example.com.:6783"),
        ("host_1:1", "host_1:1"),
        ("FD00::0002", "[fd00::2]:6783"),
        ("[fd00::2]", "[fd00::2]:6783"),
        ("[fd00::2]:65535", "[fd00::2]:65535"),
        ("fe80::1%eth0", "[fe80::1%eth0]:6783"),
        ("::ffff:10.0.0.2", "10.0.0.2:6783"),
    ],
)
def test_texts_of_one_address_have_one_key(text: str, key: str) -> None:
    assert dial_key(text, 6783) == key
    assert dial_key(key, 6783) == key


@pytest.mark.parametrize(
    "text",
    ["", ":1", "host:", "host:0", "host:65536", "host:-1", "host:x", "host:١", "a b", "10.0.0.256", "10.0.0", "7",
     "[fd00::2]:", "[fd00::2", "[host]x", "-host", "host-", "a..b", ".", "x" * 64, "a." * 127 + "ab", "h://h", "h/1"],
)  # fmt: skip
def test_what_cannot_be_dialled_is_refused_in_words(text: str) -> None:
    with pytest.raises(LocalError, match=r"connect to|port number"):
        dial_key(text, 6783)


@pytest.mark.parametrize(
    ("claim", "key"),
    [
        ("10.0.0.2:6783", "10.0.0.2:6783"),
        ("[::1]:6783", "[::1]:6783"),
        ("10.0.0.2", None),
        ("host1:6783", None),
        ("0.0.0.0:6783", None),
        ("[ff02::1]:6783", None),
        ("10.0.0.2:0", None),
        ("", None),
    ],
)
def test_a_peer_may_claim_only_addresses_that_a_peer_can_have(claim: str, key: str | None) -> None:
    assert gossiped_key(claim) == key


def test_host_of_a_key_has_no_brackets() -> None:
    assert [key_host(key) for key in ("10.0.0.2:1", "[fd00::2]:1", "h:1")] == ["10.0.0.2", "fd00::2", "h"]


@given(st.text(max_size=80))
def test_any_text_has_a_stable_key_or_is_refused(text: str) -> None:
    try:
        key = dial_key(text, 6783)
    except LocalError:
        key = dial_key("host", 6783)
    assert dial_key(key, 1) == key
    gossiped_key(text)
