"""What host-local keeps on disk, and what of it is given back."""

from __future__ import annotations

from pathlib import Path

from edgekube.agent.leases import give_back


def test_only_leases_of_unknown_sandboxes_are_given_back(tmp_path: Path) -> None:
    leases = tmp_path / "edgekube"
    leases.mkdir()
    for name, text in (
        ("10.42.0.2", "aaaa\r\neth0"),
        ("10.42.0.3", "bbbb\r\neth0"),
        ("10.42.0.4", ""),
        ("fd00::5", "bbbb\r\neth0"),
        ("last_reserved_ip.0", "10.42.0.4"),
        ("lock", ""),
    ):
        (leases / name).write_text(text)
    assert give_back(tmp_path, {"aaaa", "cccc"}) == ["10.42.0.3", "10.42.0.4", "fd00::5"]
    assert sorted(path.name for path in leases.iterdir()) == ["10.42.0.2", "last_reserved_ip.0", "lock"]
    assert give_back(tmp_path, {"aaaa"}) == []
    assert give_back(tmp_path / "not-there", ()) == []
