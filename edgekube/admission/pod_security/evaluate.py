"""A standard as a list of checks, and what it makes of a pod.

Enters: a Standard; a pod's metadata and spec.
Leaves: Findings, in upstream's order: the checks of baseline by name, then those of restricted.
Holds: pure; a check of restricted may stand in for one of baseline from the version on that says so.
Source: k8s.io/pod-security-admission policy (registry.go, and the versions of each check).
Next: admission.pod_security.admit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple

from edgekube.admission.pod_security import baseline, restricted
from edgekube.admission.pod_security.levels import BASELINE, PRIVILEGED, Standard
from edgekube.admission.pod_security.restricted import but_for_own_users, but_for_windows
from edgekube.admission.pod_security.wording import Finding, Judge
from edgekube.api.objects import Object


class _Check(NamedTuple):
    name: str
    #: (the minor version since which it is judged so, the judge), rising.
    judges: tuple[tuple[int, Judge], ...]
    #: The check of baseline that it stands in for.
    instead_of: str = ""

    def at(self, minor: int) -> Judge | None:
        return next((judge for since, judge in reversed(self.judges) if minor >= since), None)


_SYSCTL_LISTS: Final = (0, 27, 29, 32)

_BASELINE: Final = (
    _Check("appArmorProfile", ((0, baseline.app_armor),)),
    _Check("capabilities_baseline", ((0, baseline.capabilities),)),
    _Check("hostNamespaces", ((0, baseline.host_namespaces),)),
    _Check("hostPathVolumes", ((0, baseline.host_path_volumes),)),
    _Check("hostPorts", ((0, baseline.host_ports),)),
    _Check("hostProbesAndHostLifecycle", ((34, baseline.host_probes),)),
    _Check("privileged", ((0, baseline.privileged),)),
    _Check("procMount", ((0, baseline.proc_mount), (35, baseline.proc_mount_35))),
    _Check("seLinuxOptions", ((0, baseline.selinux), (31, baseline.selinux_31))),
    _Check("seccompProfile_baseline", ((0, baseline.seccomp_annotations), (19, baseline.seccomp))),
    _Check("sysctls", tuple((since, partial(baseline.sysctls, since)) for since in _SYSCTL_LISTS)),
    _Check("windowsHostProcess", ((0, baseline.windows_host_process),)),
)

_RESTRICTED: Final = (
    _Check(
        "allowPrivilegeEscalation",
        ((8, restricted.privilege_escalation), (25, but_for_windows(restricted.privilege_escalation))),
    ),
    _Check(
        "capabilities_restricted",
        ((22, restricted.capabilities), (25, but_for_windows(restricted.capabilities))),
        "capabilities_baseline",
    ),
    _Check("procMount_restricted", ((35, baseline.proc_mount),), "procMount"),
    _Check("restrictedVolumes", ((0, restricted.volumes),), "hostPathVolumes"),
    _Check("runAsNonRoot", ((0, restricted.run_as_non_root), (35, but_for_own_users(restricted.run_as_non_root)))),
    _Check("runAsUser", ((23, restricted.run_as_user), (35, but_for_own_users(restricted.run_as_user)))),
    _Check(
        "seccompProfile_restricted",
        ((19, restricted.seccomp_set), (25, but_for_windows(restricted.seccomp_set))),
        "seccompProfile_baseline",
    ),
)


@lru_cache(maxsize=16)
def _judges(standard: Standard) -> Sequence[Judge]:
    if standard.level == PRIVILEGED:
        return ()
    added = () if standard.level == BASELINE else tuple(check for check in _RESTRICTED if check.at(standard.minor) is not None)
    replaced = {check.instead_of for check in added}
    checks = (*(check for check in _BASELINE if check.name not in replaced), *added)
    return tuple(judge for check in checks if (judge := check.at(standard.minor)) is not None)


def findings(standard: Standard, metadata: Object, spec: Object) -> list[Finding]:
    """Empty: the pod keeps to the standard."""
    found = (judge(metadata, spec) for judge in _judges(standard))
    return [finding for finding in found if finding is not None]


def in_detail(found: Iterable[Finding]) -> str:
    return ", ".join(f"{each.reason} ({each.detail})" if each.detail else each.reason for each in found)


def in_short(found: Iterable[Finding]) -> str:
    return ", ".join(each.reason for each in found)
