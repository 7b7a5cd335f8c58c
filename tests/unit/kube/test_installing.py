import json
import stat

import pytest

from weave.errors import EnvironmentFailure
from weave.kube import installing
from weave.kube.installing import CONFLIST, PLUGINS, SEAL, Places, withdraw

ALL = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


def install(places, *, hairpin, portmap_knows=None):
    return installing.install(places, hairpin=hairpin, portmap_knows=portmap_knows)


@pytest.fixture
def places(tmp_path):
    source = tmp_path / "image" / "weave-net"
    source.parent.mkdir()
    source.write_bytes(b"\x7fELF")
    return Places(source, tmp_path / "bin", tmp_path / "net.d")


def configured(places):
    document = json.loads((places.configuration / CONFLIST).read_text())
    document.pop(SEAL, None)
    return document


def test_plugins_and_configuration_are_put_in_place(places):
    assert install(places, hairpin=True)
    for plugin in PLUGINS:
        path = places.binaries / plugin
        assert path.read_bytes() == b"\x7fELF"
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    capabilities = {"bandwidth": True, "ips": True, "mac": True, "dns": True, "aliases": True}
    assert configured(places) == {
        "cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": "weave", "plugins": [
            {"type": "weave-net", "hairpinMode": True, "podNames": True, "capabilities": capabilities}]}
    assert sorted(path.name for path in places.configuration.iterdir()) == [CONFLIST]


def test_portmap_is_chained_where_it_is_installed(places):
    install(places, hairpin=True, portmap_knows=ALL)
    assert configured(places)["plugins"][1] == {
        "type": "portmap", "capabilities": {"portMappings": True}, "snat": True}


@pytest.mark.parametrize(("knows", "version", "offered"), [
    (ALL, "1.0.0", ["0.4.0", "1.0.0", "1.1.0"]),
    (ALL[:-1], "1.0.0", ["0.4.0", "1.0.0"]),  # Debian 12
    (ALL[:-2], "0.4.0", ["0.4.0"]),
    (("1.1.0",), "1.1.0", ["1.1.0"]),
    (ALL[:-3], "0.3.1", None),
    ((), "1.0.0", None),  # it could not be asked
])
def test_only_versions_that_portmap_knows_are_offered(places, knows, version, offered):
    install(places, hairpin=True, portmap_knows=knows)
    document = configured(places)
    assert (document["cniVersion"], document.get("cniVersions")) == (version, offered)


def test_running_program_is_replaced_and_not_written_into(places):
    install(places, hairpin=True)
    before = (places.binaries / "weave-net").stat().st_ino
    install(places, hairpin=True)
    assert (places.binaries / "weave-net").stat().st_ino == before
    places.source.write_bytes(b"new")
    with (places.binaries / "weave-net").open("rb") as old:
        install(places, hairpin=True)
        assert old.read() == b"\x7fELF"
    assert (places.binaries / "weave-net").read_bytes() == b"new"


def test_configuration_of_an_operator_is_kept_and_ours_follows_the_options(places):
    install(places, hairpin=True)
    install(places, hairpin=False)
    assert configured(places)["plugins"][0]["hairpinMode"] is False
    (places.configuration / CONFLIST).write_text("{}")
    assert not install(places, hairpin=True)
    assert configured(places) == {}
    assert not withdraw(places)


def test_configuration_of_another_version_of_ours_is_replaced_and_an_edited_one_is_not(places, monkeypatch):
    install(places, hairpin=True)
    monkeypatch.setattr(installing, "CNI_VERSION", "0.4.0")
    assert install(places, hairpin=True)
    path = places.configuration / CONFLIST
    assert configured(places)["cniVersion"] == "0.4.0"
    path.write_text(path.read_text().replace('"hairpinMode": true', '"hairpinMode": false'))
    assert not install(places, hairpin=True)
    assert configured(places)["plugins"][0]["hairpinMode"] is False


def test_withdrawn_configuration_is_ours_alone(places):
    install(places, hairpin=True)
    (places.configuration / "10-other.conf").touch()
    assert withdraw(places)
    assert not withdraw(places)
    assert [path.name for path in places.configuration.iterdir()] == ["10-other.conf"]


def test_image_without_plugin_is_said(places):
    places.source.unlink()
    with pytest.raises(EnvironmentFailure, match="--cni-source"):
        install(places, hairpin=True)
