"""Tests, labs and benches.

Holds: programs that they start keep what Python compiled, as an installed edgekube does: compiling it anew takes longer than all
else of a start, and its garbage stays in the process's memory.
"""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
