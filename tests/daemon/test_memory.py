"""What the process gives back, and what it must not touch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekube.daemon.memory import is_worth_a_release, program_mappings

#: (mapping, kB of it that are no longer the file's)
MAPPINGS = [
    ("55d0c0a00000-55d0c0a01000 r--p 00000000 fe:00 1443 /usr/bin/python3", 0),
    ("55d0c0a01000-55d0c0a03000 r-xp 00001000 fe:00 1443 /usr/bin/python3", 0),
    ("55d0c0a03000-55d0c0a04000 rw-p 00003000 fe:00 1443 /usr/bin/python3", 4),
    ("55d0c1000000-55d0c2000000 rw-p 00000000 00:00 0 [heap]", 900),
    ("7f0000000000-7f0000001000 r-xp 00000000 00:00 0", 0),
    ("7f0000100000-7f0000180000 r-xp 00010000 fe:00 99 /usr/lib/a name - with spaces.so (deleted)", 0),
    ("7f0000200000-7f0000201000 r-xs 00000000 fe:00 98 /usr/lib/shared.so", 0),
    ("7f0000300000-7f0000301000 rwxp 00000000 fe:00 97 /usr/lib/writable.so", 0),
    ("7f0000400000-7f0000401000 r-xp 00000000 fe:00 96 /usr/lib/patched.so", 4),
    ("7f0000401000-7f0000403000 r--p 00001000 fe:00 96 /usr/lib/patched.so", 8),
    ("7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]", 0),
]
SMAPS = "".join(f"{line}\nSize: 4 kB\nAnonymous: {kb:8} kB\nVmFlags: rd ex mr mw me\n" for line, kb in MAPPINGS)


def test_only_code_and_constants_that_a_file_holds_are_dropped() -> None:
    assert program_mappings(SMAPS) == [(0x55D0C0A00000, 0x1000), (0x55D0C0A01000, 0x2000), (0x7F0000100000, 0x80000)]


@pytest.mark.parametrize(
    ("resident_mb", "lowest_mb", "busy", "worth"),
    [(70, 60, 0.0, True), (70, 60, 0.5, False), (61, 60, 0.0, False), (50, 60, 0.0, False)],
)
def test_a_release_is_for_a_quiet_process_that_has_grown(resident_mb: int, lowest_mb: int, busy: float, worth: bool) -> None:
    assert is_worth_a_release(resident_mb * 1_000_000, lowest_mb * 1_000_000, busy) is worth


PROBE = """
import threading
from edgekube.daemon.memory import bound_heap, release, resident_bytes
import cryptography.hazmat.primitives.asymmetric.ec as ec, ssl, sqlite3, orjson
bound_heap()
kept = []
def fill():  # blocks of many sizes; every second one is kept, so that no arena can end
    blocks = [bytes(600 + n % 4000) for n in range(10_000)]
    kept.append(blocks[::8])
threads = [threading.Thread(target=fill) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
before = resident_bytes()
release()
after = resident_bytes()
assert orjson.loads(b'{"a": [1]}') == {"a": [1]}
assert sqlite3.connect(":memory:").execute("select 1 + 1").fetchone() == (2,)
key = ec.generate_private_key(ec.SECP256R1())
ssl.create_default_context()
print(before - after)
"""


def test_a_release_gives_back_and_everything_still_runs() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) > 20_000_000
