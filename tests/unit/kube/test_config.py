import base64

import pytest
import yaml

from weave.errors import LocalError
from weave.kube.config import discover, from_kubeconfig, in_cluster


def kubeconfig(cluster=None, user=None):
    return yaml.safe_dump({
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    })


def encoded(word):
    return base64.b64encode(word.encode()).decode()


@pytest.mark.parametrize(("host", "server"), [("10.96.0.1", "https://10.96.0.1:443"),
                                              ("fd00::1", "https://[fd00::1]:443")])
def test_pod_finds_its_api_server(tmp_path, host, server):
    (tmp_path / "ca.crt").write_text("PEM")
    found = in_cluster({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert (found.server, found.authority, found.token_file) == (server, "PEM", tmp_path / "token")


def test_outside_of_a_pod_a_kubeconfig_is_asked_for():
    with pytest.raises(LocalError, match="--kubeconfig"):
        discover({})


def test_kubeconfig_gives_certificates_inline_and_by_file(tmp_path):
    (tmp_path / "ca.pem").write_text("CA")
    found = from_kubeconfig(kubeconfig(
        {"certificate-authority": "ca.pem", "tls-server-name": "kube"},
        {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY")}), tmp_path)
    assert (found.server, found.authority, found.certificate, found.key, found.server_name) == (
        "https://192.0.2.1:6443", "CA", "CERT", "KEY", "kube")


def test_secrets_are_not_shown(tmp_path):
    found = from_kubeconfig(kubeconfig(user={"token": "abcdef"}), tmp_path)
    assert found.token == "abcdef"
    assert "abcdef" not in repr(found)


@pytest.mark.parametrize("content", [
    "", "[", "7", yaml.safe_dump({"current-context": "x"}),
    kubeconfig({"server": "http://192.0.2.1"}),
    kubeconfig({"insecure-skip-tls-verify": True}),
    kubeconfig(user={"exec": {"command": "rm"}}),
    kubeconfig(user={"client-certificate-data": encoded("CERT")}),
    kubeconfig(user={"client-certificate-data": "%%%", "client-key-data": "%%%"}),
    kubeconfig({"certificate-authority": "missing.pem"}),
])
def test_kubeconfig_that_cannot_be_used_is_refused_with_a_sentence(tmp_path, content):
    with pytest.raises(LocalError):
        from_kubeconfig(content, tmp_path)
