"""``edgekube check``: what this host lacks, each with its fix.

Enters: settings, the host. Leaves: a table or JSON; exit code 1 when something blocks.
Holds: changes nothing on the host. Next: cli.gathering, cli.judging.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.hostfacts import HostFacts
from edgekube.cli.judging import Finding, judge

_SHOWN = {"ok": "ok", "note": "note", "warning": "warning", "blocks": "BLOCKS"}


@click.command("check", help="Name what this host lacks to be a node, with the fix. Exit code 1 if something blocks.")
@click.option("--json", "as_json", is_flag=True, help="Print facts and findings as JSON.")
@with_settings()
def command(as_json: bool, **typed: Any) -> None:
    from edgekube.cli.gathering import gather

    facts = gather(settings_from(typed))
    findings = judge(facts)
    if as_json:
        import orjson

        found = {"facts": facts.as_object(), "findings": [finding.as_object() for finding in findings]}
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(render(facts, findings), nl=False)
    if any(finding.level == "blocks" for finding in findings):
        sys.exit(1)


def render(facts: HostFacts, findings: list[Finding]) -> str:
    machine = ", ".join(part for part in (facts.model, facts.os_name, facts.architecture) if part)
    lines = [f"{facts.hostname}: {machine}", ""]
    for finding in findings:
        lines.append(f"{_SHOWN[finding.level]:8} {finding.subject}: {finding.text}")
        if finding.fix:
            lines.append(f"{'':8}   fix: {finding.fix}")
    blocking = sum(finding.level == "blocks" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    lines.append("")
    if blocking:
        lines.append(f"{_count(blocking, 'thing')} in the way: fix {'it' if blocking == 1 else 'them'} and check again.")
    elif warnings:
        lines.append(f"Nothing is in the way; {_count(warnings, 'warning')}.")
    else:
        lines.append("Nothing is in the way.")
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
