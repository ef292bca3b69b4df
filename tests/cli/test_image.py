"""edgekube image, against a containerd of the tests' own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgekube.cli.image import command
from tests.containerd.conftest import Place, busybox_archive, place

__all__ = ["busybox_archive", "place"]  # fixtures

pytestmark = pytest.mark.root


def ask(place: Place, *words: str) -> Result:
    settings = ["--data-dir", str(place.settings.data_dir), "--run-dir", str(place.settings.run_dir)]
    return CliRunner().invoke(command, [*words, *settings])


def test_images_are_listed_with_their_names_and_sizes(place: Place) -> None:
    listed = json.loads(ask(place, "list", "--json").output)
    busybox = next(image for image in listed if image["name"] == "docker.io/library/busybox:1.36")
    assert busybox["sizeBytes"] > 100_000 and busybox["id"].startswith("sha256:")
    assert "MiB  docker.io/library/busybox:1.36\n" in ask(place, "list").output


def test_the_demo_image_is_made_and_imported_and_made_again(place: Place) -> None:
    for _ in range(2):
        result = ask(place, "demo")
        assert result.exit_code == 0 and result.output == "imported edgekube.local/demo:1\n"
    assert "edgekube.local/demo:1" in ask(place, "list").output


def test_archives_are_imported_by_name(place: Place, busybox_archive: Path) -> None:
    result = ask(place, "import", str(busybox_archive), str(busybox_archive))
    assert result.exit_code == 0
    assert result.output == "imported docker.io/library/busybox:1.36\n" * 2


def test_what_is_no_archive_is_named(place: Place, tmp_path: Path) -> None:
    letter = tmp_path / "letter.tar"
    letter.write_text("Dear containerd, this is not an archive.")
    result = ask(place, "import", str(letter))
    assert result.exit_code == 1 and "Error: " in result.output and "Traceback" not in result.output
    assert str(letter) in result.output


def test_a_file_that_is_not_there_is_refused_before_anything_is_imported(place: Place, busybox_archive: Path) -> None:
    result = ask(place, "import", str(busybox_archive), "/no/such.tar")
    assert result.exit_code == 2 and "/no/such.tar" in result.output and "imported" not in result.output


def test_without_containerd_it_says_where_it_looked(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["list", "--run-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert (
        f"no containerd answers at {tmp_path}/containerd/containerd.sock" in result.output and "edgekube status" in result.output
    )


def test_images_leave_as_an_archive_and_come_back(place: Place, tmp_path: Path) -> None:
    ask(place, "demo")
    for name in ("demo.tar", "demo.tar.gz"):
        archive = tmp_path / name
        result = ask(place, "export", "edgekube.local/demo:1", "busybox:1.36", "-o", str(archive))
        assert result.exit_code == 0, result.output
        assert result.output.startswith("exported edgekube.local/demo:1, docker.io/library/busybox:1.36 to ")
        assert ask(place, "remove", "edgekube.local/demo:1").output == "removed edgekube.local/demo:1\n"
        assert "demo" not in ask(place, "list").output
        imported = ask(place, "import", str(archive)).output.splitlines()
        assert imported == ["imported edgekube.local/demo:1", "imported docker.io/library/busybox:1.36"]
    assert ask(place, "export", "no/such:1", "-o", str(tmp_path / "x.tar")).output == (
        f"Error: {tmp_path / 'x.tar'} was not written: there is no image docker.io/no/such:1 on this node\n"
    )
    assert ask(place, "export", "busybox:1.36", "-o", str(tmp_path / "none" / "x.tar")).output == (
        f"Error: {tmp_path}/none/x.tar was not written: there is no directory {tmp_path}/none; make it first\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.tar", "demo.tar.gz"]


def test_what_the_node_needs_stays(place: Place) -> None:
    pause = next(image for image in json.loads(ask(place, "list", "--json").output) if image["pinned"])
    refused = ask(place, "remove", pause["name"])
    assert refused.exit_code == 1
    assert "is pinned: the node itself needs it; --force removes it all the same" in refused.output
    assert "there is no image docker.io/no/such:1" in ask(place, "remove", "no/such:1").output
    assert "'A!' is not an image reference" in ask(place, "remove", "A!").output


def test_unused_images_are_shown_before_they_go(place: Place, busybox_archive: Path) -> None:
    ask(place, "demo")
    ask(place, "import", str(busybox_archive))
    shown = ask(place, "prune", "--dry-run").output
    assert "edgekube.local/demo:1" in shown and "removed" not in shown and "pause" not in shown
    assert ask(place, "prune").exit_code == 1, "nobody said yes"
    assert "edgekube.local/demo:1" in ask(place, "list").output
    assert "MiB\n" in ask(place, "prune", "--yes").output
    assert "edgekube.local/demo:1" not in ask(place, "list").output
    ask(place, "import", str(busybox_archive))
