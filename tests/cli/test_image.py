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
