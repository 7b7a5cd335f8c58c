import pytest

from weave.errors import LocalError
from weave.kube.options import parse_options
from weave.settings import parse_settings

NODE = {"NODE_NAME": "n1"}


def test_router_gets_what_the_environment_says():
    options = parse_options(["router", "--no-dns"], {
        **NODE, "IPALLOC_RANGE": "10.40.0.0/16", "WEAVE_MTU": "1400", "CONN_LIMIT": "20",
        "EXTRA_ARGS": "--dns-domain 'a.local.'"})
    settings = parse_settings(options.router_words(["7a:00:00:00:00:01"]), {})
    assert (settings.nickname, list(map(str, settings.ranges)), settings.mtu, settings.connection_limit, settings.dns,
            settings.dns_domain) == ("n1", ["10.40.0.0/16"], 1400, 20, False, "a.local.")
    assert settings.keep_sources
    assert not settings.sleeve_apart
    assert parse_settings(parse_options(["router"], {**NODE, "SLEEVE_APART": "1"}).router_words(
        ["7a:00:00:00:00:01"]), {}).sleeve_apart
    assert not parse_settings(parse_options(["router"], {**NODE, "NO_MASQ_LOCAL": "0"}).router_words(
        ["7a:00:00:00:00:01"]), {}
                              ).keep_sources
    assert settings.first_division.names == ("7a:00:00:00:00:01",)


def test_router_accepts_a_second_password_where_there_is_one(tmp_path):
    (tmp_path / "accept").write_text("new")
    options = parse_options(["router", "--accept-file", str(tmp_path / "accept")], NODE)
    seed = ["7a:00:00:00:00:01"]
    environ = {"WEAVE_PASSWORD": "old"}
    assert parse_settings(options.router_words(seed, accepts_another=True), environ).passwords == ("old", "new")
    assert parse_settings(options.router_words(seed), environ).passwords == ("old",)


@pytest.mark.parametrize(("value", "expects"), [("", True), ("1", True), ("0", False)])
def test_router_adds_no_pod_without_the_policy_controller_that_is_expected(value, expects):
    words = parse_options(["router"], {**NODE, "EXPECT_NPC": value}).router_words(["7a:00:00:00:00:01"])
    assert parse_settings(words, {}).expects_npc is expects


@pytest.mark.parametrize(("words", "environ"), [
    (["router"], {}),
    (["agent", "--mtu", "1400"], NODE),
    (["router", "--ipalloc-init=observer"], NODE),
    (["router"], {**NODE, "EXTRA_ARGS": "--password x"}),
    (["router"], {**NODE, "EXTRA_ARGS": "'"}),
    (["agent", "--log-level", "loud"], NODE),
])
def test_what_makes_no_sense_is_refused(words, environ):
    with pytest.raises(LocalError):
        parse_options(words, environ)


def test_wipe_is_told_which_bridge_it_is_about():
    options = parse_options(["router", "--bridge", "br7", "--mtu=1400", "--vxlan-port=7000"], NODE)
    assert options.wipe_options == ("--bridge", "br7", "--vxlan-port=7000")


@pytest.mark.parametrize(("value", "expected"), [("", True), ("1", True), ("true", True), ("0", False), ("no", False)])
def test_switches(value, expected):
    assert parse_options(["agent"], {**NODE, "EXPECT_NPC": value}).expects_npc is expected
