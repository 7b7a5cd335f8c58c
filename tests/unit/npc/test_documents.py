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
