import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.dns.resolv_conf import ServerBook, name_servers


@pytest.mark.parametrize(("text", "servers"), [
    ("", ()),
    ("nameserver 192.0.2.1\nnameserver 192.0.2.2\n", ("192.0.2.1", "192.0.2.2")),
    ("search a b\n  nameserver\t127.0.0.53 # stub\noptions edns0\n", ("127.0.0.53",)),
    ("nameserver 192.0.2.1\nnameserver 192.0.2.1", ("192.0.2.1",)),
    ("nameserver fe80::1%eth0\nnameserver 2001:db8::1", ("fe80::1%eth0", "2001:db8::1")),
    ("#nameserver 192.0.2.1\n;nameserver 192.0.2.1\nnameserver\nnameserver host\nnameserver 1.2.3", ()),
    ("\n".join(f"nameserver 192.0.2.{n}" for n in range(20)), tuple(f"192.0.2.{n}" for n in range(8))),
])
def test_name_servers(text: str, servers: tuple[str, ...]) -> None:
    assert name_servers(text) == servers


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert len(name_servers(text)) <= 8


def test_servers_that_failed_are_asked_last_for_a_while() -> None:
    book = ServerBook()
    assert book.use(("a", "b", "c"))
    assert not book.use(("a", "b", "c"))
    book.failed("a", 100.0)
    assert book.order(100.0) == ["b", "c", "a"]
    book.failed("b", 105.0)
    assert book.order(106.0) == ["c", "a", "b"]
    assert book.order(111.0) == ["a", "c", "b"]
    book.succeeded("b")
    assert book.order(111.0) == ["a", "b", "c"]


def test_our_own_addresses_are_never_asked() -> None:
    book = ServerBook()
    book.use(("10.32.0.1", "192.0.2.1"))
    assert book.avoid({"10.32.0.1"})
    assert book.servers == ("192.0.2.1",)
    assert book.avoid(())
    assert book.servers == ("10.32.0.1", "192.0.2.1")
