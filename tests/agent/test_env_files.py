"""Variables out of files that containers write: their form, and that nobody is led out of the volume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.env import make_environment
from edgekube.agent.env_files import file_key, value_of
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.problems import ConfigProblem
from edgekube.limits import ENV_FILE_BYTES_MAX

TEXT = """# written by an init container

  FIRST='one'  # and a comment
SPACED= 'two'
LINES='first
second # not a comment

third'
EMPTY=''
LAST='it = fine'"""


def test_the_form_of_a_file() -> None:
    assert value_of(TEXT, "FIRST") == "one"
    assert value_of(TEXT, "LINES") == "first\nsecond # not a comment\n\nthird"
    assert value_of(TEXT, "LAST") == "it = fine"
    assert [value_of(TEXT, key) for key in ("SPACED", "EMPTY", "MISSING", "second")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A", "at line 1: missing '='"),
        ("\n='x'", "at line 2: empty variable name"),
        ("A ='x'", "at line 1: whitespace before '=' is not allowed"),
        ("A='x'\nB=x", "at line 2: value must be enclosed in single quotes"),
        ("A='x'y", "at line 1: unexpected content after closing quote"),
        ("A='x\ny' z", "at line 2: unexpected content after closing quote"),
        ("A='x\ny", "starting at line 1: unclosed single quote"),
    ],
)
def test_what_is_not_of_this_form(text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        value_of(text, "Z")
    assert str(error.value) == f"invalid environment variable format {words}"


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"])))))
def test_what_was_written_is_read(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}='{value}'\n" for name, value in pairs)
    for name in "ABC":
        first = next((value for key, value in pairs if key == name), "")
        assert value_of(text, name) == (first or None)


def test_a_key_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/app.env").write_text("A='1'\n")
    (tmp_path / "link.env").symlink_to("sub/app.env")
    assert file_key(str(tmp_path), "sub/app.env", "A") == file_key(str(tmp_path), "link.env", "A") == "1"
    assert file_key(str(tmp_path), "sub/app.env", "B") is None
    assert file_key(str(tmp_path), "none.env", "A") is None


def test_nobody_is_led_out_of_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (tmp_path / "secret").write_text("A='of the host'\n")
    (volume / "link").symlink_to("../secret")
    (volume / "wide").write_text("A='" + "x" * ENV_FILE_BYTES_MAX + "'")
    (volume / "broken").write_text("A=secret")
    os.mkfifo(volume / "pipe")
    for path in ("link", "../secret", "wide", "broken", "pipe", "."):
        with pytest.raises(ConfigProblem) as problem:
            file_key(str(volume), path, "A")
        assert problem.value.message == "couldn't parse env file"


def test_variables_out_of_files(tmp_path: Path) -> None:
    (tmp_path / "app.env").write_text("A='1'\n")

    def environment(*references: Any) -> dict[str, str]:
        env = [{"name": f"V{index}", "valueFrom": {"fileKeyRef": item}} for index, item in enumerate(references)]
        env.append({"name": "LAST", "value": "$(V0)!"})
        container = {"name": "web", "env": env}
        pod = {"metadata": {"namespace": "default"}, "spec": {"containers": [container]}}
        return make_environment(pod, container, {}, {}, Surroundings(), {"config": str(tmp_path)})

    reference = {"volumeName": "config", "path": "app.env", "key": "A"}
    optional = {**reference, "key": "B", "optional": True}
    assert environment(reference, optional) == {"V0": "1", "LAST": "1!"}
    with pytest.raises(ConfigProblem, match='environment variable key "B" not found in file'):
        environment({**reference, "key": "B"})
    with pytest.raises(ConfigProblem, match='cannot find the volume "other" referenced by FileKeyRef'):
        environment({**reference, "volumeName": "other"})
