"""The container runtime: CRI client, supervised instance, images."""

import sys
from types import ModuleType

# grpc imports its asyncio half by itself: a megabyte of code that nothing here runs. It finds this in its place.
sys.modules.setdefault("grpc.aio", ModuleType("grpc.aio"))
