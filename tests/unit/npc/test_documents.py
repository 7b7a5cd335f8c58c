"""Files of manifests become objects, or are refused in a line."""

import pytest

from weave.npc.documents import read_objects
from weave.npc.manifest_fields import ManifestError

POD = "{apiVersion: v1, kind: Pod, metadata: {name: %s}}"
ODD = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"a": %s}}}'


def read(text, is_json=False):
    return [str(identity) for identity in read_objects(text.encode(), is_json=is_json)]


@pytest.mark.parametrize(("text", "names"), [
    ("", []), ("---\n---\n", []), (POD % "a", ["Pod default/a"]),
    (f"{POD % 'a'}\n---\n{POD % 'b'}", ["Pod default/a", "Pod default/b"]),
    (f"kind: List\nitems: [{POD % 'a'}, {POD % 'b'}]", ["Pod default/a", "Pod default/b"]),
    ("{apiVersion: v1, kind: Secret, metadata: {name: s}}", []),
])
def test_objects_of_a_file(text, names):
    assert read(text) == names


@pytest.mark.parametrize(("version", "kind"), [
    ("networking.k8s.io/v1", "Networkpolicy"), ("networking.k8s.io/v1", "NetworkPolicies"),
    ("networking.k8s.io/v1", "network-policy"), ("networking.k8s.io/v2", "NetworkPolicy"),
    ("extensions/v1beta1", "NetworkPolicy"), ("Networking.k8s.io/v1", "NetworkPolicy"),
    ("policy.networking.k8s.io/v1", "ClusterNetworkPolicy"), ("v1", "namespaces"), ("v2", "Pod"), ("v1", "NODE"),
])
def test_what_is_called_like_an_object_of_ours_but_not_written_so_is_refused(version, kind):
    with pytest.raises(ManifestError, match=r"'shut': policy knows nothing of .*; write [A-Z]"):
        read(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: shut}}}}")


@pytest.mark.parametrize("version", ["", "apiVersion: null, ", "apiVersion: 1, "])
def test_an_object_that_does_not_say_of_which_version_it_is_is_refused(version):
    with pytest.raises(ManifestError, match="'shut': apiVersion should be a text"):
        read(f"{{{version}kind: NetworkPolicy, metadata: {{name: shut}}}}")


@pytest.mark.parametrize("kind", ["NetworkPolicySet", "PodTemplate", "AdminNetworkPolicy", "Policy", "s", "-"])
def test_other_kinds_are_left_out_whatever_their_version(kind):
    assert read(f"{{apiVersion: networking.k8s.io/v1, kind: {kind!r}, metadata: {{name: a}}}}") == []


def test_json():
    assert read('{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}', is_json=True) == ["Node n"]


@pytest.mark.parametrize("text", [
    "{", "a: b", "- a", "5", "kind: Pod", "kind: Pod\nmetadata: {name: 5}", "!!python/object:os.system {}", "\0",
    "a: *b",
])
def test_file_that_is_none_is_refused(text):
    with pytest.raises(ManifestError) as found:
        read(text)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("text", [
    "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {team: 5}}}",
    "{apiVersion: v1, kind: Node, metadata: {name: a, labels: [team]}}",
    "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{ports: [{name: sql, containerPort: x}]}]}}",
])
def test_what_is_no_namespace_node_or_pod_is_refused(text):
    with pytest.raises(ManifestError, match=r"^(Namespace|Node|Pod) 'a': .* should be a"):
        read(text)


@pytest.mark.parametrize("date", ["2024-05-01", "2024-05-01T10:00:00Z", "!!timestamp 2024-05-01"])
def test_dates_are_texts_as_they_are_written(date):
    [value] = read_objects((ODD % date).encode(), is_json=False).values()
    assert value["metadata"]["annotations"] == {"a": date.removeprefix("!!timestamp ")}


@pytest.mark.parametrize("odd", [
    ".nan", "-.inf", "!!binary aGk=", "!!set {a, b}", f"0x{'f' * 5000}", "{!!binary aGk=: b}", "{.nan: b}", "[[.nan]]",
])
def test_what_json_cannot_say_is_refused(odd):
    with pytest.raises(ManifestError, match="JSON"):
        read(ODD % odd)


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", '"\\ud800"'])
def test_files_of_json_may_hold_more_than_json_can_say(odd):
    with pytest.raises(ManifestError, match="JSON cannot say"):
        read(ODD % odd, is_json=True)


def test_merge_keys_are_refused_before_they_multiply():
    lines = ["m0: &m0 {a: b}"]
    lines += [f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 9)}]}}" for level in range(1, 12)]
    with pytest.raises(ManifestError, match="merge key"):
        read("\n".join(lines))


def test_references_that_mean_a_million_values_are_refused():
    lines = ["apiVersion: v1", "kind: Pod", "metadata: {name: a}", "l0: &l0 [1]"]
    lines += [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 12)]
    with pytest.raises(ManifestError, match="parts"):
        read("\n".join(lines))
