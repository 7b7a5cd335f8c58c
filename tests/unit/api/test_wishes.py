"""Address arguments."""

from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.api.wishes import AnyIn, Exactly, Wish, format_wish, parse_wish, parse_wishes
from weave.errors import LocalError


@pytest.mark.parametrize(("text", "wish"), [
    ("10.32.0.5/12", Exactly(ip_interface("10.32.0.5/12"))),
    ("ip:10.32.0.5/12", Exactly(ip_interface("10.32.0.5/12"))),
    ("fd00::5/64", Exactly(ip_interface("fd00::5/64"))),
    ("ip:fd00::5/64", Exactly(ip_interface("fd00::5/64"))),
    ("net:10.2.0.0/16", AnyIn(ip_network("10.2.0.0/16"))),
    ("net:fd00::/64", AnyIn(ip_network("fd00::/64"))),
    ("net:default", AnyIn(None)),
])
def test_parse_wish(text: str, wish: Wish) -> None:
    assert parse_wish(text) == wish


@pytest.mark.parametrize("text", ["", "10.32.0.5", "net:", "net:10.2.0.1/16", "ip:default", "blue", "10.0.0.1/33",
                                  "10.0.0.1/12/3", "net:default/3"])
def test_parse_wish_refuses(text: str) -> None:
    with pytest.raises(LocalError):
        parse_wish(text)


def test_parse_wishes_keeps_order_and_drops_repetition() -> None:
    assert parse_wishes(["net:default", "10.0.0.1/8", "net:default"]) == (
        AnyIn(None), Exactly(ip_interface("10.0.0.1/8")))


@given(st.one_of(
    st.builds(AnyIn, st.none() | st.ip_addresses().map(ip_network)),
    st.builds(Exactly, st.ip_addresses().map(ip_interface)),
))
def test_format_and_parse_are_inverse(wish: Wish) -> None:
    assert parse_wish(format_wish(wish)) == wish
