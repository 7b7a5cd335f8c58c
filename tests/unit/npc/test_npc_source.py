"""What sources tell, and what it adds up to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from weave.kube import reflector, resource
from weave.npc.manifest import gather, parse
from weave.npc.model import Key
from weave.npc.source import Holdings, Identity, Remove, State, Synced, Upsert, identity_of
from weave.npc.source_directory import DirectorySource
from weave.npc.source_kubernetes import KINDS, KindProgress

WEB = Identity("Pod", "x", "web")


def pod(name: str = "web", address: str = "10.32.0.1", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "x", "name": name, "labels": labels},
            "spec": {"containers": []}, "status": {"podIPs": [{"ip": address}]}}


def policy(name: str = "deny", spec: object = None) -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "x", "name": name},
            "spec": spec or {"podSelector": {}}}


def upsert(manifest: Mapping[str, Any]) -> Upsert:
    identity = identity_of(manifest)
    assert identity is not None
    return Upsert(identity, manifest)


def test_holdings_keep_what_did_not_change() -> None:
    holdings = Holdings()
    assert holdings.take([upsert(pod()), upsert(policy())])
    before = holdings.cluster
    assert not holdings.take([upsert(pod())])
    assert holdings.cluster is before
    assert holdings.take([upsert(pod(app="new"))])
    assert holdings.cluster.policies is before.policies
    assert holdings.cluster.pods[Key("x", "web")].labels == {"app": "new"}
    assert before.pods[Key("x", "web")].labels == {}


def test_what_is_removed_is_gone() -> None:
    holdings = Holdings()
    holdings.take([upsert(pod()), upsert(policy())])
    assert holdings.take([Remove(WEB)])
    assert not holdings.take([Remove(WEB)])
    assert not holdings.cluster.pods
    assert list(holdings.originals) == [Identity("NetworkPolicy", "x", "deny")]


def test_an_object_that_is_none_leaves_and_is_told() -> None:
    holdings = Holdings()
    holdings.take([upsert(pod())])
    assert holdings.take([Upsert(WEB, {**pod(), "status": {"podIPs": [{"ip": "no address"}]}})])
    assert not holdings.cluster.pods
    assert [identity for identity, _ in holdings.problems()] == [WEB]
    holdings.take([upsert(pod())])
    assert not list(holdings.problems())


def test_what_a_policy_means_unclearly_is_told() -> None:
    holdings = Holdings()
    holdings.take([upsert(policy(spec={"podSelector": {}, "ingress": [{"from": [{"what": {}}]}]}))])
    [(identity, problem)] = holdings.problems()
    assert str(identity) == "NetworkPolicy x/deny"
    assert problem


def test_synced_matters_once_and_state_never() -> None:
    holdings = Holdings()
    assert holdings.take([Synced()])
    assert not holdings.take([Synced(), State(is_well=False, sentence="away")])
    assert holdings.state.sentence == "away"


@pytest.mark.parametrize("value", [None, [], {}, {"kind": "Pod"}, {"kind": 1, "metadata": {"name": "a"}},
                                   {"kind": "Pod", "metadata": {"name": ""}},
                                   {"kind": "NetworkPolicy", "metadata": {"name": "a", "namespace": 2024}},
                                   {"kind": "Pod", "metadata": {"name": "a", "namespace": "x\n"}}])
def test_what_has_no_name_has_no_identity(value: object) -> None:
    assert identity_of(value) is None


def test_a_namespace_is_default_unless_said() -> None:
    assert identity_of({"kind": "Pod", "metadata": {"name": "a"}}) == Identity("Pod", "default", "a")
    assert identity_of({"kind": "Node", "metadata": {"name": "a", "namespace": "x"}}) == Identity("Node", "", "a")


@pytest.mark.parametrize("namespace", ["Shop", "my_team", "", None])
def test_policy_is_in_the_namespace_in_which_others_read_it(namespace: str | None) -> None:
    manifest = {**policy(), "metadata": {"namespace": namespace, "name": "Deny"}}
    holdings = Holdings()
    holdings.take([upsert(manifest)])
    assert holdings.cluster == gather([parse(manifest)])


# A directory

def names(changes: list[Any]) -> list[str]:
    return [f"{type(change).__name__} {getattr(change, 'identity', '')}".strip()
            for change in changes if not isinstance(change, State)]


def test_a_directory_is_told_once_and_then_its_changes(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path)
    (tmp_path / "one.json").write_text(json.dumps(policy("one")))
    assert names(source.look()) == ["Upsert NetworkPolicy x/one", "Synced"]
    assert source.look() == []
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.yaml").write_text(f"{json.dumps(policy('two'))}\n---\n{json.dumps(policy('three'))}\n")
    assert names(source.look()) == ["Upsert NetworkPolicy x/two", "Upsert NetworkPolicy x/three"]
    (tmp_path / "one.json").unlink()
    assert names(source.look()) == ["Remove NetworkPolicy x/one"]


def test_nothing_is_told_before_every_file_can_be_read(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path)
    (tmp_path / "one.json").write_text(json.dumps(policy("one")))
    (tmp_path / "two.json").write_text("{")
    [state] = source.look()
    assert isinstance(state, State)
    assert "two.json" in state.sentence
    (tmp_path / "two.json").write_text(json.dumps(policy("two")))
    assert names(source.look())[-1] == "Synced"


def test_a_file_that_breaks_keeps_what_it_said(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path)
    (tmp_path / "one.json").write_text(json.dumps(policy("one")))
    source.look()
    (tmp_path / "one.json").write_text("broken, and longer than before" * 100)
    [state] = source.look()
    assert isinstance(state, State)
    assert not state.is_well


def test_a_file_whose_policy_has_no_namespace_that_can_be_keeps_what_it_said(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path)
    (tmp_path / "one.json").write_text(json.dumps(policy("one")))
    source.look()
    (tmp_path / "one.json").write_text(json.dumps({**policy("one"), "metadata": {"name": "one", "namespace": 2024}}))
    [state] = source.look()
    assert isinstance(state, State)
    assert "metadata.namespace" in state.sentence


@pytest.mark.parametrize("mistyped", [{"kind": "Networkpolicy"}, {"apiVersion": "extensions/v1beta1"},
                                      {"apiVersion": None}])
def test_a_mistyped_policy_stays_what_it_was_and_is_a_problem(tmp_path: Path, mistyped: Mapping[str, Any]) -> None:
    source, holdings = DirectorySource(tmp_path), Holdings()
    (tmp_path / "one.json").write_text(json.dumps(policy("one")))
    holdings.take(source.look())
    before = holdings.cluster
    (tmp_path / "one.json").write_text(json.dumps({**policy("one"), **mistyped}))
    holdings.take(source.look())
    assert holdings.cluster is before
    assert not holdings.state.is_well
    assert [str(identity) for identity, _ in holdings.problems()] == ["file one.json"]
    (tmp_path / "one.json").write_text(json.dumps(policy("one")))
    holdings.take(source.look())
    assert not list(holdings.problems())


@pytest.mark.parametrize("kind", ["Namespace", "Node"])
def test_labels_that_break_stay_what_they_were(tmp_path: Path, kind: str) -> None:
    source, holdings = DirectorySource(tmp_path), Holdings()
    for team in ("red", 5):
        (tmp_path / "one.json").write_text(json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {
            "name": "shop", "labels": {"team": team}}}))
        holdings.take(source.look())
    [value] = [*holdings.cluster.namespaces.values(), *holdings.cluster.nodes.values()]
    assert value.labels["team"] == "red"
    assert not holdings.state.is_well
    assert [str(identity) for identity, _ in holdings.problems()] == ["file one.json"]


def test_a_directory_that_is_away_changes_nothing(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path / "later")
    [state] = source.look()
    assert isinstance(state, State)
    assert "is no directory" in state.sentence
    (tmp_path / "later").mkdir()
    assert names(source.look()) == ["Synced"]


# Kubernetes

def test_a_cluster_is_synced_once_every_kind_is() -> None:
    progress = KindProgress({kind.plural for kind in KINDS})
    told = [change for kind in KINDS for change in progress.translate(kind, [reflector.Synced()])]
    assert told == [Synced()]
    assert progress.translate(KINDS[0], [reflector.Synced()]) == []


def test_items_of_a_list_become_whole_manifests() -> None:
    progress = KindProgress(set())
    value = {key: part for key, part in pod().items() if key not in ("apiVersion", "kind")}
    [told] = progress.translate(resource.PODS, [reflector.Upsert("x/web", value)])
    assert told == Upsert(WEB, {"apiVersion": "v1", "kind": "Pod", **value})
    [gone] = progress.translate(resource.NODES, [reflector.Remove("n1")])
    assert gone == Remove(Identity("Node", "", "n1"))


def test_one_kind_in_trouble_is_trouble_until_it_is_over() -> None:
    progress = KindProgress(set())
    [bad] = progress.translate(resource.PODS, [reflector.State(is_well=False, sentence="refused")])
    assert bad == State(is_well=False, sentence="pods: refused")
    [still] = progress.translate(resource.NODES, [reflector.State(is_well=True, sentence="fine")])
    assert not still.is_well  # type: ignore[union-attr]
    [good] = progress.translate(resource.PODS, [reflector.State(is_well=True, sentence="fine")])
    assert good.is_well  # type: ignore[union-attr]


def test_a_kind_that_is_not_installed_is_told_and_no_trouble() -> None:
    progress = KindProgress(set())
    absent = reflector.State(is_well=True, sentence="clusternetworkpolicies are not installed", is_absent=True)
    [told] = progress.translate(resource.CLUSTER_NETWORK_POLICIES, [absent])
    assert told == State(is_well=True, sentence="following the API server; clusternetworkpolicies are not installed")
    [later] = progress.translate(resource.CLUSTER_NETWORK_POLICIES, [reflector.State(is_well=True, sentence="fine")])
    assert later == State(is_well=True, sentence="following the API server")
