"""Files of manifests become objects, or are refused in a line."""

import pytest

from weave.npc.documents import read_objects
from weave.npc.manifest_fields import ManifestError

POD = "{apiVersion: v1, kind: Pod, metadata: {name: %s}}"


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
