"""An undocumented command, flag or path fails the build; so does a documented one that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from edgekube.cli import installation
from edgekube.cli.main import NOUNS, edgekube
from edgekube.cli.options import OPTIONS, PARTS
from edgekube.settings import Settings
from tests.rules.test_house import tracked

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def text(name: str) -> str:
    return (ROOT / name).read_text()


def commands(group: click.Group, words: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """ "image list" -> its command, of every command there is."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found[" ".join((*words, name))] = command
        if isinstance(command, click.Group):
            found |= commands(command, (*words, name))
    return found


def test_every_setting_is_documented_in_all_its_spellings() -> None:
    page = text("docs/configuration.md")
    missing = [option.name for option in OPTIONS if f"`--{option.name}`" not in page or f"`{option.variable}`" not in page]
    assert not missing


def test_every_default_in_the_table_is_the_real_one() -> None:
    page = text("docs/configuration.md")
    defaults = Settings("-")
    for option in OPTIONS:
        part, _, field = option.field.rpartition(".")
        value = getattr(getattr(defaults, part) if part else defaults, field)
        if not option.is_flag and isinstance(value, str | int | Path) and str(value) not in ("", "-"):
            row = next(
                line for line in page.splitlines() if line.startswith("| `--") and f"`--{option.name}`" in line.split(" | ")[0]
            )
            assert f"`{value}`" in row, f"{option.name}: {row}"


def test_every_part_that_can_be_disabled_is_documented() -> None:
    page = text("docs/configuration.md")
    assert not [part for part in PARTS if f"`{part}`" not in page]


def test_every_command_and_flag_is_documented() -> None:
    page = text("docs/configuration.md")
    settings = {f"--{option.name}" for option in OPTIONS} | {"--config", "--help"}
    missing = []
    for words, command in commands(edgekube).items():
        if f"edgekube {words}" not in page:
            missing.append(words)
        for parameter in command.params:
            flags = [flag for flag in parameter.opts if flag.startswith("--")]
            missing += [f"{words} {flag}" for flag in flags if flag not in settings and f"{flag}" not in page]
    assert not missing


def _typed() -> list[tuple[str, str]]:
    """Each ``edgekube …`` that a reader may type: at the start of a line of a code block (after sudo), or in backticks."""
    found = []
    for guide in GUIDES:
        for block in re.findall(r"```[a-z]*\n(.*?)```", guide.read_text(), flags=re.DOTALL):
            found += [
                (guide.name, line)
                for line in re.findall(r"^(?:\$ )?(?:sudo )?edgekube ((?:[a-z]|-)[^#\n|>&]*)", block, flags=re.MULTILINE)
            ]
        found += [(guide.name, line) for line in re.findall(r"`(?:sudo )?edgekube ([a-z][^`\n]*)`", guide.read_text())]
    return found


def test_every_command_that_the_guides_name_is_there() -> None:
    known = commands(edgekube)
    assert _typed(), "the guides name no command at all"
    for guide, line in _typed():
        words = [word for word in line.split() if word]
        noun = words[0]
        assert noun in NOUNS, f"{guide}: edgekube {line}"
        command = known[noun]
        if isinstance(command, click.Group) and len(words) > 1 and not words[1].startswith("-"):
            assert f"{noun} {words[1]}" in known, f"{guide}: edgekube {line}"
            command = known[f"{noun} {words[1]}"]
        flags = {flag for parameter in command.params for flag in parameter.opts} | {"--help", "-h"}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0].rstrip(",;.)") in flags, f"{guide}: edgekube {line}"


def test_every_link_between_the_guides_leads_somewhere() -> None:
    broken = [
        f"{guide.name}: {target}"
        for guide in GUIDES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", guide.read_text())
        if "://" not in target and not (guide.parent / target).exists()
    ]
    assert not broken


def test_every_file_that_the_tour_names_is_there() -> None:
    tour = text("docs/path-of-apply.md")
    named = set(re.findall(r"`((?:edgekube|tests|build_hooks|systemd|docs)/[\w./-]*\w/?)`", tour))
    assert len(named) > 40
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_every_decision_that_the_source_names_is_there() -> None:
    named = {
        (path.name, name)
        for path in tracked()
        if path.relative_to(ROOT).parts[0] in ("edgekube", "build_hooks", "tests", "systemd")
        and path.suffix in (".py", ".service", "")
        for name in re.findall(r"\bdocs/adr/[\w.-]+\.md\b", path.read_text(errors="replace"))
    }
    assert not [f"{source}: {name}" for source, name in sorted(named) if not (ROOT / name).exists()]


def test_every_package_has_its_place_in_the_tour() -> None:
    tour = text("docs/path-of-apply.md")
    packages = [path.name for path in (ROOT / "edgekube").iterdir() if (path / "__init__.py").exists()]
    assert not [name for name in packages if f"{name}/" not in tour]


def test_decisions_have_numbers_of_their_own_and_say_what_follows() -> None:
    records = sorted((ROOT / "docs/adr").glob("*.md"))
    assert len({int(path.name[:4]) for path in records}) == len(records) > 5
    for path in records:
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in path.read_text(), f"{path.name} has no {heading}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("prefix", installation.PREFIX),
        ("link", installation.LINK),
        ("unit", installation.UNIT),
        ("agent_unit", installation.AGENT_UNIT),
        ("log_dir", installation.LOG_DIR),
        ("config", installation.CONFIG_DIR / "config.yaml"),
    ],
)
def test_install_and_uninstall_spell_the_same_paths(variable: str, value: Path) -> None:
    assert re.search(rf"^{variable}={re.escape(str(value))}$", text("install.sh"), flags=re.MULTILINE)


def test_the_units_and_the_supervisor_start_what_install_puts_there() -> None:
    for role in installation.ROLES:
        assert f"ExecStart={installation.PROGRAM} {role}\n" in text(f"systemd/edgekube-{role}.service")
    supervisor = text("systemd/edgekube-supervise")
    assert f":-{installation.PROGRAM}}}" in supervisor and f"$(cat {installation.ROLE} " in supervisor
    assert f":-{installation.LOG.with_name('$role.log')}}}" in supervisor
    assert (installation.LOG.name, installation.AGENT_LOG.name) == ("server.log", "agent.log")
    assert f":-{installation.SUPERVISE_LOCK.with_suffix('')}}}" in supervisor
