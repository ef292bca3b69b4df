"""Ask Kubernetes' own API server and ours the same, and tell where the answers differ.

    sudo .venv/bin/python -m tests.upstream --directory D --only create --kind Pod

Enters: which questions.
Leaves: a report: each difference once, with how often and one question that shows it.
Holds: it is no part of the test run: it needs Go, its modules, root and time (tests.upstream.building).
Next: tests.upstream.questions.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from tests.conformance.building import VERSION
from tests.upstream.asking import Client
from tests.upstream.below import below
from tests.upstream.building import build
from tests.upstream.comparing import differences
from tests.upstream.customs import customs
from tests.upstream.patching import deeper, patches
from tests.upstream.questions import Pair, Question, added, create, prepare, update, wrong
from tests.upstream.reading import described, read
from tests.upstream.servers import again_inside, both

SETS: Final[dict[str, Callable[[Pair, re.Pattern[str], str], Iterator[Question]]]] = {
    "added": added,
    "below": below,
    "create": create,
    "customs": customs,
    "deeper": deeper,
    "described": described,
    "patches": patches,
    "read": read,
    "update": update,
    "wrong": wrong,
}


@click.command()
@click.option("--only", "sets", multiple=True, type=click.Choice(sorted(SETS)), help="These sets of questions (repeatable).")
@click.option("--kind", default="", help="Only kinds whose name matches the regular expression.")
@click.option("--version", "wanted", default=VERSION, show_default=True, help="Of Kubernetes.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where upstream's programs are built; kept, and used again.")
@click.option("--report", type=click.Path(path_type=Path), help="Where the differences are written (default: the terminal).")
@click.option("--inside", is_flag=True, hidden=True, help="This process runs in a namespace of its own already.")
def side_by_side(
    sets: tuple[str, ...], kind: str, wanted: str, directory: Path | None, report: Path | None, inside: bool
) -> None:
    """Differences from Kubernetes' own API server."""
    where = (directory or Path(tempfile.gettempdir()) / "edgekube-conformance").resolve()
    if not inside:
        build(where, wanted)
        again_inside("tests.upstream")
    found: dict[str, list[str]] = defaultdict(list)
    asked = 0
    with both(where) as (theirs, ours):
        pair = Pair(Client(theirs), Client(ours))
        prepare(pair)
        for name in sets or sorted(SETS):
            for question in SETS[name](pair, re.compile(kind), wanted):
                asked += 1
                for difference in differences(*question.answers):
                    if difference in question.known:
                        continue
                    signature = re.sub(r"\[\d+\]", "[*]", f"{question.about}: {difference}")
                    found[signature].append(question.told)
    lines = [f"{len(told):4}  {signature}\n      {told[0][:600]}" for signature, told in sorted(found.items())]
    text = "\n".join([*lines, f"{asked} questions, {len(found)} differences"])
    if report is None:
        print(text)
    else:
        report.write_text(text + "\n")
        print(f"{asked} questions, {len(found)} differences: {report}")


side_by_side()
