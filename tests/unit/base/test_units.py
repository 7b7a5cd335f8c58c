"""The units of plain hosts start our programs with options that exist."""

from pathlib import Path

from weave.settings import parse_settings

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"


def command(unit: str) -> list[str]:
    """Return the words that a unit starts, with what the service manager would put in."""
    text = (UNITS / unit).read_text().replace("\\\n", "")
    [line] = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = line.removeprefix("ExecStart=").replace("%S", "/var/lib").replace("%t", "/run").split()
    return [word for word in words if not word.startswith("$")]


def test_the_router_of_a_unit_uses_the_usual_places() -> None:
    program, verb, *options = command("weave.service")
    settings = parse_settings(options, {})
    assert (program, verb) == ("/opt/weave/bin/weave", "router")
    assert settings == parse_settings([], {})


def test_the_sleeve_that_the_router_starts_may_go_first() -> None:
    text = (UNITS / "weave.service").read_text().replace("\\\n", "")
    [line] = [line for line in text.splitlines() if line.startswith("CapabilityBoundingSet=")]
    assert "CAP_SYS_NICE" in line.split(), "without it a priority above 0 is refused, and the sleeve goes on without"


def test_the_environment_file_holds_what_the_units_put_in() -> None:
    given = {line.partition("=")[0] for line in (UNITS / "weave.env").read_text().splitlines() if "=" in line}
    used = {word[1:] for unit in UNITS.glob("*.service")
            for word in unit.read_text().split() if word.startswith("$WEAVE_")}
    assert used == given
