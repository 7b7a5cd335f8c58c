"""The router's options: what is wrong is found before anything starts, in one line."""

import pytest

from weave.errors import LocalError
from weave.ipam.modes import Consensus, Observer, Seed
from weave.mesh.limits import MAX_ADDRESSES
from weave.settings import hide_password, parse_settings

MANY_SUBNETS = ["--trusted-subnets", ",".join(f"10.{number}.0.0/16" for number in range(MAX_ADDRESSES + 1))]
MANY_ADDRESSES = [f"--advertise-address=192.0.2.{number}" for number in range(MAX_ADDRESSES + 1)]


def parse(*words, **environ):
    return parse_settings(words, environ)


def test_defaults_are_those_of_weave():
    settings = parse()
    assert (list(map(str, settings.ranges)), settings.port) == (["10.32.0.0/12"], 6783)
    assert settings.default_subnets == settings.ranges
    assert settings.dns_domain == "weave.local."
    assert settings.passwords == ()
    assert not settings.expects_npc
    assert settings.metrics == ("127.0.0.1", 6782)


@pytest.mark.parametrize(("words", "mode"), [
    ([], Consensus(1)), (["a", "b"], Consensus(3)), (["a", "a"], Consensus(2)),
    (["--ipalloc-init=consensus=5"], Consensus(5)), (["--ipalloc-init=observer"], Observer()),
    (["--ipalloc-init", "seed=02:00:00:00:00:02,02:00:00:00:00:01"], Seed(("02:00:00:00:00:01", "02:00:00:00:00:02"))),
])
def test_the_first_division(words, mode):
    assert parse(*words).first_division == mode


@pytest.mark.parametrize(("words", "says"), [
    (["--ipalloc-init=magic"], "--ipalloc-init"), (["--ipalloc-init=consensus=0"], "--ipalloc-init"),
    (["--ipalloc-init=seed=h1"], "not a peer name"), (["--ipalloc-range=10.0.0.1/8"], "host bits"),
    (["--ipalloc-range=10.0.0.0/31"], "too small"), (["--port=0"], "--port"), (["--port=70000"], "--port"),
    (["--ipalloc-default-subnet=192.168.0.0/24"], "does not lie in"), (["--mtu=100"], "--mtu"),
    (["--trusted-subnets=lan"], "not a subnet"), (["--metrics-addr=here"], "--metrics-addr"),
    (["--password-file=/nonexistent/file"], "cannot read"), (["--conn-limit=1"], "--conn-limit"),
    (["--password=a", "--password-file=b"], "not both"), (["--nickname=a\nb"], "--nickname"),
    (["--ipalloc-range=10.0.0.0/16,10.1.0.0/16"], "two ranges of one family"),
    (["--ipalloc-default-subnet=fd00::/64"], "does not lie in"), (["--ipalloc-range="], "or 'none'"),
    (["--ipalloc-range", " , "], "or 'none'"), (["--password="], "--password is empty"),
    (["--password", " "], "--password is empty"), (MANY_SUBNETS, "--trusted-subnets has 33 values"),
    (MANY_ADDRESSES, "--advertise-address has 33 values"),
    (["--dns-ttl=2147483648"], "from 0 to 2147483647"), (["--dns-ttl=-1"], "from 0 to"),
    (["--vxlan-port=65534"], "from 1 to 65533"), (["--vxlan-port=6783"], "UDP ports 6783 to 6785"),
    (["--port=6786"], "UDP ports 6784 to 6786"), (["--mtu=65486"], "from 576 to 65485"),
    (["--bridge=toolongbridgename1"], "cannot name an interface"), (["--bridge=a/b"], "cannot name an interface"),
    (["--bridge="], "cannot name an interface"), (["--bridge=vxlan-6784"], "another device of ours"),
    (["--bridge=weave-wg"], "another device of ours"), (["--bridge=vethwe1"], "another device of ours"),
    (["--ipalloc-init=consensus=8193"], "up to 8192 hosts"), (["--host=224.0.0.1"], "multicast"),
    (["--advertise-address=ff02::1"], "multicast"), (["--advertise-address=0.0.0.0"], "leads nowhere"),
])
def test_what_makes_no_sense_is_refused_in_words(words, says):
    with pytest.raises(LocalError, match=says):
        parse(*words)


@pytest.mark.parametrize(("range_", "says"), [
    ("127.0.0.0/8", "loopback"), ("127.64.0.0/10", "loopback"), ("224.0.0.0/8", "multicast"), ("0.0.0.0/0", "no cont"),
    ("0.0.0.0/1", "no container can have"), ("0.1.0.0/16", "this host itself"), ("::/0", "no container can have"),
    ("::/64", "this host itself"), ("fe80::/64", "the link alone"), ("ff00::/64", "multicast"),
    ("fe00::/8", "the link"),
    ("255.255.255.0/24", "broadcast"), ("::ffff:10.0.0.0/112", "IPv4 in IPv6"), ("10.0.0.0/16,ff02::/64", "multicast"),
])
def test_a_range_of_addresses_that_no_container_can_have_is_refused(range_, says):
    with pytest.raises(LocalError, match=says):
        parse("--ipalloc-range", range_)


def test_the_last_values_that_work_are_taken():
    settings = parse("--dns-ttl=2147483647", "--vxlan-port=65533", "--mtu=65485", "--bridge=fifteen-letters",
                     "--ipalloc-init=consensus=8192", "--port=65532")
    assert (settings.dns_ttl, settings.vxlan_port, settings.mtu) == (2147483647, 65533, 65485)
    assert parse("--port=6787").port == 6787


def test_as_many_addresses_and_subnets_as_peers_take_in_are_fine_and_count_once():
    subnets = ",".join(MANY_SUBNETS[1].split(",")[1:] * 2)
    settings = parse("--trusted-subnets", subnets, *MANY_ADDRESSES[1:], *MANY_ADDRESSES[1:])
    assert (len(settings.trusted_subnets), len(settings.advertise)) == (MAX_ADDRESSES, MAX_ADDRESSES)


def test_ranges_of_both_families_stand_in_one_order():
    settings = parse("--ipalloc-range=fd00:32::/64,10.40.0.0/16", "--ipalloc-default-subnet=10.40.1.0/24")
    assert list(map(str, settings.ranges)) == ["10.40.0.0/16", "fd00:32::/64"]
    assert list(map(str, settings.default_subnets)) == ["10.40.1.0/24", "fd00:32::/64"]
    assert parse("--ipalloc-range=none").ranges == ()


def test_passwords_come_from_option_file_or_environment(tmp_path):
    (tmp_path / "new").write_text("new\n")
    (tmp_path / "old").write_text("old\n")
    assert parse("--password=x", WEAVE_PASSWORD="y").passwords == ("x",)
    assert parse(WEAVE_PASSWORD="y").passwords == ("y",)
    assert parse(f"--password-file={tmp_path / 'new'}", f"--accept-password-file={tmp_path / 'old'}").passwords == (
        "new", "old")


def test_a_password_never_shows_in_a_repr():
    assert "secret" not in repr(parse("--password=secret"))


def test_a_password_is_split_off_the_arguments():
    assert hide_password(["a", "--password", "x", "b"]) == (["a", "b"], "x")
    assert hide_password(["--password=x"]) == ([], "x")
    assert hide_password(["a"]) == (["a"], None)
    assert hide_password(["--password", "-", "a"]) == (["a"], "-")


@pytest.mark.parametrize("words", [
    ["--password"], ["a", "--password", "--port", "7000"], ["--password", "--password=x"],
])
def test_a_password_whose_word_is_missing_is_wrong_usage(words, capsys):
    kept, _ = hide_password(words)
    with pytest.raises(SystemExit) as ended:
        parse(*kept)
    assert ended.value.code == 2
    assert "--password: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "says"), [
    (["--password", ""], "empty"), (["--password=", "a"], "empty"), (["--password=x", "--password-file=f"], "not both"),
    (["--password-file", "f", "a", "--password", "x"], "not both"),
])
def test_a_password_that_opens_the_mesh_or_loses_another_is_refused(words, says):
    with pytest.raises(LocalError, match=says):
        hide_password(words)


def test_wrong_words_are_complained_of_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        parse("--bogus")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "weave router: unrecognized arguments: --bogus; `weave router --help` lists the options\n")


def test_an_empty_password_in_the_environment_is_refused_unless_a_file_gives_another(tmp_path):
    (tmp_path / "file").write_text("x\n")
    with pytest.raises(LocalError, match="WEAVE_PASSWORD is empty"):
        parse(WEAVE_PASSWORD="")
    assert parse(f"--password-file={tmp_path / 'file'}", WEAVE_PASSWORD="").passwords == ("x",)
