"""Where log shippers look: made, followed and cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.agent import log_places
from edgekube.agent.names import PodPaths
from edgekube.settings import DATA_DIR, Settings


def place(tmp_path: Path) -> Settings:
    return Settings(node_name="n1", data_dir=tmp_path / "data", pod_logs=tmp_path / "log" / "pods")


def paths_of(settings: Settings, name: str = "web") -> PodPaths:
    return PodPaths(settings.agent_dir, settings.pod_logs_dir, "default", name, f"uid-{name}", settings.container_logs_dir)


def wrote(paths: PodPaths, container: str, attempt: int, text: str = "hello") -> Path:
    log = paths.log(container, attempt)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    return log


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_a_standard_node_has_its_logs_where_every_node_has_them() -> None:
    standard, own = Settings(node_name="n1", data_dir=DATA_DIR), Settings(node_name="n1", data_dir=Path("/srv/edge"))
    assert (str(standard.pod_logs_dir), str(standard.container_logs_dir)) == ("/var/log/pods", "/var/log/containers")
    assert (str(own.pod_logs_dir), str(own.container_logs_dir)) == (
        "/srv/edge/agent/logs/pods",
        "/srv/edge/agent/logs/containers",
    )


def test_a_container_is_found_by_its_names_until_its_pod_is_gone(tmp_path: Path) -> None:
    settings = place(tmp_path)
    log_places.provide(settings)
    web, other = paths_of(settings), paths_of(settings, "web-2")
    for paths, attempt in ((web, 0), (web, 1), (other, 0)):
        wrote(paths, "app", attempt, f"{attempt}")
        log_places.show(paths, "app", attempt, f"id{attempt}")
        log_places.show(paths, "app", attempt, f"id{attempt}")
    log_places.show(web, "silent", 0, "id9")  # it has no log
    links = settings.container_logs_dir
    assert names(links) == ["web-2_default_app-id0.log", "web_default_app-id0.log", "web_default_app-id1.log"]
    assert (links / "web_default_app-id1.log").read_text() == "1"
    web.remove_log_links()
    assert names(links) == ["web-2_default_app-id0.log"]


def test_a_name_that_no_file_system_takes_is_cut(tmp_path: Path) -> None:
    link = paths_of(place(tmp_path), "w" * 253).log_link("app", "f" * 64)
    assert len(link.name) == 255 and link.name.startswith("w" * 200) and link.name.endswith(".log")


def test_a_start_clears_away_links_to_logs_that_are_gone_and_touches_no_others(tmp_path: Path) -> None:
    settings = place(tmp_path)
    log_places.provide(settings)
    links, web = settings.container_logs_dir, paths_of(settings)
    log = wrote(web, "app", 0)
    log_places.show(web, "app", 0, "id0")
    (links / "another_kubelet_app-id1.log").symlink_to("/var/lib/another/nothing.log")
    log.unlink()
    log_places.provide(settings)
    assert names(links) == ["another_kubelet_app-id1.log"]


def test_logs_of_an_earlier_version_move_and_are_found_by_their_old_names(tmp_path: Path) -> None:
    settings = place(tmp_path)
    old = settings.agent_dir / "logs" / "pods"
    log = old / "default_web_uid-web" / "app" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\n")
    with log.open("a") as runtime:
        log_places.provide(settings)
        log_places.provide(settings)
        runtime.write("two\n")
    assert paths_of(settings).log("app", 0).read_text() == log.read_text() == "one\ntwo\n"


def test_uninstalling_leaves_what_is_not_the_nodes_own(tmp_path: Path) -> None:
    settings = place(tmp_path)
    log_places.provide(settings)
    wrote(paths_of(settings), "app", 0)
    log_places.show(paths_of(settings), "app", 0, "id0")
    (settings.container_logs_dir / "notes.txt").parent.mkdir(exist_ok=True)
    (settings.container_logs_dir / "notes.txt").write_text("mine")
    assert log_places.withdraw(settings) == []
    assert not settings.pod_logs_dir.exists() and names(settings.container_logs_dir) == ["notes.txt"]
    (settings.container_logs_dir / "notes.txt").unlink()
    assert log_places.withdraw(settings) == [] and not settings.container_logs_dir.exists()


def test_no_place_for_logs_is_said(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    with pytest.raises(OSError, match="log/pods"):
        log_places.provide(place(tmp_path))
