"""What the reference must not forget, and links that must lead somewhere."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from weave.api.routes import OPERATIONS
from weave.cli.app import COMMANDS, weave
from weave.mesh.reasons import Reason
from weave.settings import build_parser

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
METRIC = re.compile(r'(?:Sample|Distribution|_gauge|_counter)\(\s*"(weave_\w+)"')
INHERITED = {"--help"}


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group that help shows, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


def _anchor(heading: str) -> str:
    """Return the anchor that a Markdown renderer makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _leads_somewhere(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    place = document.parent / path if path else document
    if not place.exists() or not anchor:
        return place.exists()
    return anchor in map(_anchor, HEADING.findall(place.read_text(encoding="utf-8")))


SHOWN_OPTIONS = [action for action in build_parser()._actions if action.help != argparse.SUPPRESS]


@pytest.mark.parametrize("action", SHOWN_OPTIONS, ids=lambda action: action.dest)
def test_reference_knows_every_router_option(action: argparse.Action) -> None:
    words = set(action.option_strings or [str(action.metavar)]) - {"-h", *INHERITED}
    assert [word for word in words if f"`{word}" not in REFERENCE] == []


@pytest.mark.parametrize("words", [words for words, _ in _commands(weave)], ids=" ".join)
def test_reference_knows_every_command(words: tuple[str, ...]) -> None:
    assert f"`weave {' '.join(words)}" in REFERENCE


@pytest.mark.parametrize(("words", "command"), list(_commands(weave)), ids=lambda item: " ".join(item)
                         if isinstance(item, tuple) else "")
def test_reference_knows_every_option_of_the_commands(words: tuple[str, ...], command: click.Command) -> None:
    options = {option for parameter in command.params if isinstance(parameter, click.Option)
               for option in parameter.opts if option.startswith("--")} - INHERITED
    assert sorted(option for option in options if f"`{option}" not in REFERENCE) == []


def test_reference_knows_every_variable_of_router_and_commands() -> None:
    sources = [ROOT / "weave" / "settings.py", ROOT / "weave" / "api" / "client.py",
               *(ROOT / "weave" / "cli").glob("*.py")]
    named = {name for source in sources for name in re.findall(r"WEAVE_[A-Z_]+", source.read_text(encoding="utf-8"))}
    assert len(named) > 4
    assert sorted(name for name in named if f"| `{name}` |" not in REFERENCE) == []


def test_reference_names_no_command_that_is_not_there() -> None:
    named = set(re.findall(r"^\| `weave ([a-z-]+)", REFERENCE, re.MULTILINE))
    assert named - COMMANDS.keys() == set()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_reference_knows_every_api_operation(operation: object) -> None:
    row = f"| {operation.method} | `{operation.path}` |"  # type: ignore[attr-defined]
    assert row in REFERENCE


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name.lower())
def test_reference_tells_every_reason_of_a_refusal(reason: Reason) -> None:
    assert f"| `{reason.name.lower()}` | {reason.sentence} |" in REFERENCE


def test_reference_knows_every_metric() -> None:
    sources = [*(ROOT / "weave" / "api").glob("*.py"), ROOT / "weave" / "router" / "figures.py"]
    named = {name for source in sources for name in METRIC.findall(source.read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert sorted(name for name in named if f"`{name}`" not in REFERENCE) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8")))
    assert [target for target in targets if "://" not in target and not _leads_somewhere(document, target)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_of_the_project_that_are_named_exist(document: Path) -> None:
    named = set(re.findall(r"`((?:weave|store|tests)/[\w/.]+)`", document.read_text(encoding="utf-8")))
    meant_otherwise = {"weave/router.py"}  # what decision 0001 is about
    assert sorted(path for path in named - meant_otherwise if not (ROOT / path).exists()) == []
