"""Where the kernel has nothing to listen to, that is said as what could not be."""

import pytest

from weave.netlink.connection import NetlinkFailure
from weave.netlink.listener import listen

NO_PROTOCOL = 200


def test_a_protocol_that_the_kernel_lacks_is_an_expected_failure() -> None:
    with pytest.raises(NetlinkFailure, match="cannot hear of nothing"):
        listen(NO_PROTOCOL, (), subject="hear of nothing")
