"""The rules of the house that no tool checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in (ROOT / "edgekube").rglob("*.py") if "_generated" not in path.parts)
#: Words that tell what a module is to others. Packages and the smallest files (names, constants) need only their first line.
_FORM = ("Enters:", "Leaves:", "Holds:", "Next:")
_SMALL_LINES = 30
_FORBIDDEN_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"})
#: Last words of a bound: a unit, or what is counted.
_BARE_COUNTS = re.compile(r"_(MAX|MIN|FIRST|LAST|PROBES|RESETS|TASKS|WORKERS|BLOCK|BURST|REPLICAS)$")
_UNITS = re.compile(r"_(SECONDS|BYTES|PER_SECOND|PER_SECOND_MIN|SECONDS_MAX|SECONDS_MIN|BYTES_MAX|BYTES_MIN|NS|MS|PAGES|ITEMS)$")


def tracked(*patterns: str) -> list[Path]:
    """Files of the checkout that are not ignored; all of them where there is no git."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    found = (path for path in ROOT.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.parts))
    return [path for path in found if not patterns or any(path.match(pattern) for pattern in patterns)]


def _of_the_tests() -> list[Path]:
    """Not by walking the folder: another process of this run builds clients below it, whose files come and go."""
    return sorted(path for path in tracked("*.py") if path.is_relative_to(ROOT / "tests"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_module_says_what_it_is_in_its_first_lines() -> None:
    silent, short = [], []
    for path in MODULES:
        text = path.read_text()
        doc = ast.get_docstring(ast.parse(text)) if text.strip() else ""
        if not doc:
            silent.append(_name(path))
        elif (
            path.name not in ("__init__.py", "__main__.py", "limits.py")
            and len(text.splitlines()) > _SMALL_LINES
            and not any(word in doc for word in _FORM)
        ):
            short.append(_name(path))
    assert not silent, f"no docstring: {silent}"
    assert not short, f"a docstring without any of {', '.join(_FORM)}: {short}"


def test_no_module_is_named_after_nothing() -> None:
    named = [
        _name(path)
        for path in tracked("*.py")
        if {part.removesuffix(".py") for part in path.relative_to(ROOT).parts} & _FORBIDDEN_NAMES
    ]
    assert not named


def test_every_test_directory_mirrors_one_of_the_program() -> None:
    ours = {path.name for path in (ROOT / "edgekube").iterdir() if path.is_dir()}
    besides = {
        "lab",
        "e2e",
        "e2e_nodes",
        "faults",
        "faults_nodes",
        "bench",
        "rules",
        "clients",
        "fuzz",
        "conformance",
        "csi_driver",
        "upstream",
    }
    tests = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    assert tests <= ours | besides, tests - ours - besides


def test_nothing_points_at_the_machine_that_it_was_written_on() -> None:
    # Spelled in two halves, so that this file does not find itself.
    places = re.compile("/" + "work/(?:main|shared)|/root/\\." + "pyenv|/home/" + "[a-z]+/|/opt/" + "wheels|/Users" + "/[a-z]+")
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{_name(path)}:{number}" for number, line in enumerate(text.splitlines(), 1) if places.search(line)]
    assert not found


def _bounds() -> list[str]:
    tree = ast.parse((ROOT / "edgekube/limits.py").read_text())
    return [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]


def test_every_bound_ends_in_its_unit() -> None:
    assert not [name for name in _bounds() if not (_UNITS.search(name) or _BARE_COUNTS.search(name))]


def test_every_bound_is_used() -> None:
    used = {word for path in MODULES if path.name != "limits.py" for word in re.findall(r"\w+", path.read_text())}
    # By another bound is by the program too.
    words = re.findall(r"\w+", (ROOT / "edgekube/limits.py").read_text())
    assert not [name for name in _bounds() if name not in used and words.count(name) < 2]


def test_every_bound_has_its_reason_beside_it() -> None:
    lines = (ROOT / "edgekube/limits.py").read_text().splitlines()
    bare = []
    explained = False
    for line in lines:
        if line.startswith("#:"):
            explained = True
        elif not line.strip() or line.startswith("# ---"):
            explained = False
        elif re.match(r"[A-Z_]+ = ", line) and not explained:
            bare.append(line)
    assert not bare


def test_every_test_asserts_something() -> None:
    """By itself, or through something of tests/ that does."""
    tests: dict[str, frozenset[str]] = {}
    called_by: dict[str, set[str]] = {}
    for path in _of_the_tests():
        for function in _functions(ast.parse(path.read_text())):
            calls = _calls(function)
            called_by.setdefault(function.name, set()).update(calls)
            if function.name.startswith("test_") and path.name.startswith("test_"):
                tests[f"{_name(path)}::{function.name}"] = calls
    asserting: set[str] = {_ASSERTS, "raises", "RaisesGroup", "fail_after", "verify_directly_issued_by"}
    while found := {name for name, calls in called_by.items() if name not in asserting and calls & asserting}:
        asserting |= found
    assert not [name for name, calls in tests.items() if not calls & asserting]


#: Stands among the names that a function calls when it asserts or raises by itself; no function is named so.
_ASSERTS = "assert"


def _functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _calls(function: ast.AST) -> frozenset[str]:
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Raise):
            return frozenset({_ASSERTS})
        if isinstance(node, ast.Call):
            found.add(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
    return frozenset(found)


def test_nothing_of_ours_is_mocked_or_skipped() -> None:
    words = ("unittest.mock", "Mock(", "mocker.", "pytest.mark.skip", "pytest.mark.xfail")
    forbidden = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(map(re.escape, words))})")
    found = []
    for path in _of_the_tests():
        if path == Path(__file__):
            continue
        text = path.read_text()
        found += [f"{_name(path)}:{text.count(chr(10), 0, match.start()) + 1}" for match in forbidden.finditer(text)]
    assert not found


def test_no_unfinished_work_is_marked_in_the_code() -> None:
    marks = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + "X|HA" + r"CK)\b")
    found = [_name(path) for path in tracked("*.py", "*.sh", "*.toml") if marks.search(path.read_text())]
    assert not found


def test_the_program_imports_on_a_bare_interpreter_of_its_version() -> None:
    """What ``edgekube --help`` loads stays small: it must answer at once on a slow board."""
    script = (
        "import sys, edgekube.cli.main; print([m for m in ('grpc', 'trio', 'cryptography', 'yaml', 'rich') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_only_one_module_builds_tls_contexts() -> None:
    """Whoever builds one decides whom it trusts: that is decided in wire/tls.py, where age is judged by our own clock."""
    builds = re.compile(r"\bSSLContext\(|create_default_context|wrap_socket\(|_create_unverified_context|get_server_certificate")
    built = [_name(path) for path in MODULES if builds.search(path.read_text())]
    assert built == ["edgekube/wire/tls.py"]
    dangerous = [_name(path) for path in MODULES if re.search(r"verify_flags|CERT_NONE|check_hostname", path.read_text())]
    assert sorted(dangerous) == ["edgekube/wire/tls.py", "edgekube/wire/transport.py"]


def test_whoever_runs_for_long_judges_certificates_by_the_clock_that_has_a_floor() -> None:
    """The command line and a machine that joins come and go; server and agent must say which clock they mean."""
    forgotten = [
        f"{_name(path)}:{node.lineno}"
        for path in MODULES
        if path.relative_to(ROOT).parts[1] in ("daemon", "server", "agent")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("ServerTls", "ClientTls", "server_context")
        and "clock" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not forgotten
