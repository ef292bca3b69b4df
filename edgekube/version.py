"""What this program calls itself and which API level it serves."""

PACKAGE_VERSION = "0.1.0"
#: When this version was made: a clock that shows less is wrong (``edgekube check``). Changed with PACKAGE_VERSION.
RELEASE_DATE = "2026-11-23"

KUBERNETES_MAJOR = "1"
KUBERNETES_MINOR = "36"
#: The ``gitVersion`` of /version and of a node's ``kubeletVersion``: semver with build metadata, as clients parse it.
GIT_VERSION = f"v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.0+edgekube.{PACKAGE_VERSION}"
