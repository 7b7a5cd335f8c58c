"""The manifests: what they ask for is what the programs need, no less and no more."""

from pathlib import Path

import pytest
import yaml

from weave import __version__
from weave.kube.options import parse_options
from weave.kube.registry import NAME
from weave.net.sleeve.apart import build_parser as build_sleeve_parser
from weave.npc.source_kubernetes import KINDS
from weave.settings import build_parser, parse_settings

DEPLOY = Path(__file__).parents[3] / "deploy"
BASE = DEPLOY / "kubernetes"


@pytest.fixture(scope="module")
def objects():
    documents = yaml.safe_load_all((BASE / "weave.yaml").read_text())
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


@pytest.fixture(scope="module")
def pod(objects):
    return objects["DaemonSet", "weave-net"]["spec"]["template"]["spec"]


def allowed(rules):
    return {(group, resource, verb): tuple(rule.get("resourceNames", ())) for rule in rules
            for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}


def test_image_is_that_of_this_version(pod):
    images = {each["image"] for each in pod["initContainers"] + pod["containers"]}
    assert images == {f"weave.local/weave:{__version__}"}


def test_rights_are_those_that_are_used(objects):
    rights = allowed(objects["ClusterRole", "weave-net"]["rules"])
    wanted = {(kind.group, kind.plural, verb) for kind in KINDS for verb in ("get", "list", "watch")}
    assert rights.keys() == wanted | {("", "nodes/status", "patch"), ("", "events", "create")}
    record = allowed(objects["Role", "weave-net"]["rules"])
    assert record == {("", "configmaps", "get"): (NAME,), ("", "configmaps", "update"): (NAME,),
                      ("", "configmaps", "create"): ()}


def test_options_that_an_operator_put_in_survive_another_apply(objects):
    data = objects["ConfigMap", "weave-net-options"]["data"]
    assert data == {}, "kubectl apply resets what a manifest says, and all of them where it comes to say nothing"


def test_router_starts_without_a_single_option():
    options = parse_options(["router"], {"NODE_NAME": "n1"})
    assert parse_settings(options.router_words(["7a:00:00:00:00:01"]), {}).nickname == "n1"


def test_only_what_touches_the_kernel_has_rights_on_it(pod):
    contexts = {each["name"]: each["securityContext"] for each in pod["containers"]}
    assert contexts["weave"] == {"privileged": True}
    # the agent: some installers give /opt/cni/bin and /etc/cni/net.d to a user of their own
    for name, added in (("agent", ["DAC_OVERRIDE"]), ("weave-npc", ["NET_ADMIN", "NET_RAW"])):
        assert contexts[name]["capabilities"]["drop"] == ["ALL"]
        assert contexts[name]["capabilities"].get("add") == added
        assert contexts[name]["allowPrivilegeEscalation"] is False


def test_router_sees_the_processes_by_which_runtimes_name_namespaces(pod):
    assert pod["hostPID"] is True
    assert "shareProcessNamespace" not in pod


def test_second_password_is_where_the_router_looks_and_may_be_missing(pod):
    [volume] = [volume for volume in pod["volumes"] if "secret" in volume]
    [router] = [each for each in pod["containers"] if each["name"] == "weave"]
    [place] = [mount["mountPath"] for mount in router["volumeMounts"] if mount["name"] == volume["name"]]
    [item] = volume["secret"]["items"]
    assert volume["secret"]["optional"] is True
    assert Path(place, item["path"]) == parse_options(["router"], {"NODE_NAME": "n1"}).accept_file
    [ours] = [each["valueFrom"]["secretKeyRef"] for each in router["env"] if each["name"] == "WEAVE_PASSWORD"]
    assert (ours["name"], ours["key"]) == (volume["secret"]["secretName"], "password")


def test_pods_of_every_node_survive_pressure_and_taints(pod):
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["hostNetwork"] is True
    mounts = {mount["name"] for each in pod["initContainers"] + pod["containers"] for mount in each["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize(("overlay", "families", "is_apart"), [("dual-stack", 2, False), ("encrypted", 1, True)])
def test_overlays_stand_on_the_base(overlay, families, is_apart):
    directory = DEPLOY / "overlays" / overlay
    found = yaml.safe_load((directory / "kustomization.yaml").read_text())
    base, *others = found["resources"]
    assert (directory / base).resolve() == BASE
    assert all((directory / other).is_file() for other in others)
    assert BASE not in directory.parents, "kustomize refuses a base that an overlay lies in"
    [patch] = found["patches"]
    options = parse_options(["router"], {**yaml.safe_load(patch["patch"])["data"], "NODE_NAME": "n1"})
    settings = parse_settings(options.router_words(["7a:00:00:00:00:01"]), {})
    assert (len(settings.ranges), settings.sleeve_apart) == (families, is_apart)


def test_every_overlay_is_tried():
    assert sorted(path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml")) == [
        "dual-stack", "encrypted"]


def test_the_sleeve_has_a_pod_of_its_own_where_the_router_starts_none():
    manifest = DEPLOY / "overlays" / "encrypted" / "sleeve.yaml"
    [sleeve] = [each for each in yaml.safe_load_all(manifest.read_text()) if each]
    [container] = sleeve["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"weave.local/weave:{__version__}"
    assert build_sleeve_parser().parse_args(container["command"][1:]).port == build_parser().parse_args([]).port
    assert sleeve["spec"]["updateStrategy"] == {"type": "OnDelete"}
