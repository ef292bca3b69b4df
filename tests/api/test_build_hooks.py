"""What is derived at build time: the same from a checkout, from a source distribution and in an isolated build."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from build_hooks import schemas as derivation
from edgekube.api import schemas

ROOT = Path(__file__).resolve().parents[2]
DERIVED = ("edgekube/api/schemas.bin", "edgekube/containerd/_generated/cri_pb2.py")


def build(tree: Path, target: str, out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)], cwd=tree, check=True, capture_output=True
    )
    (made,) = out.iterdir()
    return made


def test_the_file_in_the_tree_is_what_the_schemas_say(tmp_path: Path) -> None:
    (tmp_path / "edgekube" / "api").mkdir(parents=True)
    made = derivation.generate(tmp_path)
    assert made.read_bytes() == Path(schemas.__file__).with_name("schemas.bin").read_bytes(), "run python -m build_hooks.schemas"


def test_nulls_and_alternatives_of_kubernetes_validate_are_undone() -> None:
    for name in schemas.definition_names():
        node = schemas.definition(name)
        for site in (node.properties or {}).values():
            assert site.type in ("", "object", "array", "string", "integer", "number", "boolean")
            assert bool(site.ref) != bool(site.type)


def test_a_wheel_from_a_source_distribution_has_the_derived_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", ".gitignore"):
        shutil.copy(ROOT / name, tree)
    skipped = shutil.ignore_patterns("__pycache__", "_generated", "schemas.bin")
    for name in ("edgekube", "build_hooks"):
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    (tree / DERIVED[0]).write_bytes(b"made by an older checkout")

    source = build(tree, "sdist", tmp_path / "sdist")
    with tarfile.open(source) as archive:
        assert not [name for name in archive.getnames() if name.endswith(("schemas.bin", "_pb2.py"))]
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()

    wheel = build(unpacked, "wheel", tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive_:
        assert set(DERIVED) <= set(archive_.namelist())
        assert archive_.read(DERIVED[0]) == Path(schemas.__file__).with_name("schemas.bin").read_bytes()
