"""Turn the .proto files of edgekube/containerd/proto and edgekube/agent/proto into importable message classes.

Enters: the .proto files.
Leaves: _generated/ beside each proto/, one module ``<name>_pb2.py`` per file: its descriptor as bytes and the classes made of
it.
Holds: the modules work with every protobuf the project allows. protoc's own Python output does not: it refuses a runtime older
than the compiler, and the compiler comes with whatever grpcio-tools the build environment has. The descriptors go into a
private pool, so nothing else in the process that knows the same names (another copy of the CRI) can clash with them.
Next: edgekube.containerd.rpc, edgekube.agent.csi.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

#: Of edgekube, those that have a proto/.
PACKAGES = ("containerd", "agent")

_MODULE = '''"""Made from {proto} by build_hooks/grpc_stubs.py. Do not edit."""

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_POOL = DescriptorPool()
_POOL.AddSerializedFile({serialized!r})
DESCRIPTOR = _POOL.FindFileByName({proto!r})
for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = GetMessageClass(_message)
'''


def generate(root: Path) -> None:
    """Write the modules under ``root``. Raises RuntimeError when a .proto does not compile."""
    for package in PACKAGES:
        if (root / "edgekube" / package / "proto").is_dir():
            _generate(root / "edgekube" / package)


def _generate(package: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from grpc_tools import protoc

    source = package / "proto"
    target = package / "_generated"
    protos = sorted(path.name for path in source.glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / "descriptors"
        if protoc.main(["protoc", f"-I{source}", f"--descriptor_set_out={compiled}", *protos]) != 0:
            raise RuntimeError(f"protoc refused the files in {source}")
        files = FileDescriptorSet.FromString(compiled.read_bytes()).file
    target.mkdir(exist_ok=True)
    for stale in target.glob("*.py"):
        if stale.name != "__init__.py" and stale.name.removesuffix("_pb2.py") + ".proto" not in protos:
            stale.unlink()
    (target / "__init__.py").write_text('"""Made by build_hooks/grpc_stubs.py. Do not edit."""\n')
    for file in files:
        module = target / (file.name.removesuffix(".proto") + "_pb2.py")
        module.write_text(_MODULE.format(proto=file.name, serialized=file.SerializeToString(deterministic=True)))
