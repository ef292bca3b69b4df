"""Security contexts of pods and containers: what the runtime is told, and what is refused in the kubelet's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekube.agent.confinement import apparmor_of, apparmor_refusal, kernel_has_apparmor, seccomp_of
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.security import container_security, sandbox_security
from edgekube.agent.sysctls import check_pattern, normalized, refusal
from edgekube.api.objects import Object
from edgekube.containerd.model import Image, Security, SELinux

PROFILES = Path("/profiles")
BY_NUMBER, BY_NAME, NOBODY = Image("", (), (), 1, uid=33), Image("", (), (), 1, username="www"), Image("", (), (), 1)


def pod_of(container: Object | None = None, annotations: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "web-0", "namespace": "default", "uid": "u", "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": [container or {"name": "web"}], **spec}}


def security(own: Object, of_pod: Object | None = None, image: Image = BY_NUMBER, **spec: Any) -> Security:
    container = {"name": "web", "securityContext": own}
    return container_security(pod_of(container, securityContext=of_pod or {}, **spec), container, image, PROFILES)


def test_the_containers_setting_wins() -> None:
    of_pod = {
        "runAsUser": 1000,
        "fsGroup": 7,
        "supplementalGroups": [8],
        "supplementalGroupsPolicy": "Strict",
        "seccompProfile": {"type": "RuntimeDefault"},
        "seLinuxOptions": {"level": "s0:c1"},
    }
    own = {
        "runAsGroup": 5,
        "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
    }
    made = security(own, of_pod)
    assert (made.run_as_user, made.run_as_group, made.supplemental_groups, made.strict_groups) == (1000, 5, (7, 8), True)
    assert (made.add_capabilities, made.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    assert (made.readonly_rootfs, made.no_new_privs, made.seccomp) == (True, True, "runtime/default")
    assert made.selinux == SELinux(level="s0:c1")
    assert security({"runAsUser": 0, "seLinuxOptions": {"type": "t"}}, of_pod).selinux == SELinux(type="t")
    assert security({"runAsUser": 0}, of_pod).run_as_user == 0


def test_the_images_user_is_taken_where_none_is_named() -> None:
    assert (security({}).run_as_user, security({}).run_as_username) == (33, "")
    assert (security({}, image=BY_NAME).run_as_user, security({}, image=BY_NAME).run_as_username) == (None, "www")
    assert security({}, image=NOBODY).run_as_user == 0
    named = security({"runAsUser": 7}, image=BY_NAME)
    assert (named.run_as_user, named.run_as_username) == (7, "")
    # A group alone goes with the image's user.
    assert (security({"runAsGroup": 9}).run_as_user, security({"runAsGroup": 9}).run_as_group) == (33, 9)


def test_what_privileges_and_proc_mount_mean() -> None:
    plain, privileged, unmasked = security({}), security({"privileged": True}), security({"procMount": "Unmasked"})
    assert (plain.privileged, plain.masked_paths, plain.no_new_privs, plain.seccomp) == (False, None, False, "unconfined")
    assert privileged.privileged
    assert (unmasked.masked_paths, unmasked.readonly_paths) == ((), ())
    assert not security({"allowPrivilegeEscalation": True}).no_new_privs


@pytest.mark.parametrize(
    ("own", "image", "message"),
    [
        ({"runAsUser": 0}, BY_NUMBER, "container's runAsUser breaks non-root policy"),
        ({}, Image("", (), (), 1, uid=0), "container has runAsNonRoot and image will run as root"),
        ({}, NOBODY, "container has runAsNonRoot and image will run as root"),
        ({}, BY_NAME, "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root"),
        (
            {},
            Image("", (), (), 1, uid=2**31),
            "container has runAsNonRoot and image has an invalid user id (2147483648). (Must be 1-(2147483647)): "
            "must be between 0 and 2147483647, inclusive",
        ),
    ],
)
def test_root_is_refused_where_it_must_not_be(own: Object, image: Image, message: str) -> None:
    with pytest.raises(ConfigProblem) as problem:
        security({"runAsNonRoot": True, **own}, image=image)
    assert problem.value.message == f'{message} (pod: "web-0_default(u)", container: web)'
    assert problem.value.reason == "CreateContainerConfigError"


def test_others_than_root_pass() -> None:
    assert security({"runAsNonRoot": True}).run_as_user == 33
    assert security({}, {"runAsNonRoot": True, "runAsUser": 5}, image=BY_NAME).run_as_user == 5
    assert security({"runAsNonRoot": False, "runAsUser": 0}, {"runAsNonRoot": True}).run_as_user == 0


def test_the_sandbox_is_confined_however_little_its_pod_is() -> None:
    settings = {"runAsUser": 1000, "runAsGroup": 5, "fsGroup": 7, "seccompProfile": {"type": "Unconfined"}}
    privileged = {"name": "web", "securityContext": {"privileged": True}}
    made = sandbox_security(pod_of(privileged, securityContext=settings))
    assert (made.run_as_user, made.run_as_group, made.supplemental_groups) == (1000, 5, (7,))
    assert (made.privileged, made.seccomp) == (True, "runtime/default")
    assert sandbox_security(pod_of(securityContext={"runAsGroup": 5})).run_as_group is None


def test_profiles_of_seccomp_are_files_of_the_node() -> None:
    assert seccomp_of(None, PROFILES) == seccomp_of({"type": "Unconfined"}, PROFILES) == "unconfined"
    assert seccomp_of({"type": "Localhost", "localhostProfile": "team/web.json"}, PROFILES) == "localhost//profiles/team/web.json"
    with pytest.raises(ConfigProblem, match=r"localhostProfile must be set if seccompProfile type is Localhost\."):
        seccomp_of({"type": "Localhost"}, PROFILES)
    with pytest.raises(ConfigProblem, match="outside of the node's directory"):
        seccomp_of({"type": "Localhost", "localhostProfile": "../../etc/shadow"}, PROFILES)


def test_apparmor_by_field_annotation_and_pod() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/web"
    localhost = {"appArmorProfile": {"type": "Localhost", "localhostProfile": "web"}}
    plain, own = {"name": "web"}, {"name": "web", "securityContext": localhost}
    assert apparmor_of(pod_of(), plain) == ""
    assert apparmor_of(pod_of(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}}), plain) == "runtime/default"
    assert apparmor_of(pod_of(annotations={key: "unconfined"}, securityContext=localhost), plain) == "unconfined"
    assert apparmor_of(pod_of(annotations={key: "localhost/x"}), plain) == "localhost/x"
    assert apparmor_of(pod_of(annotations={key: "runtime/default"}), own) == "localhost/web"


def test_apparmor_is_refused_where_the_kernel_has_none(tmp_path: Path) -> None:
    asks = pod_of(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    assert apparmor_refusal(asks, False) == "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert apparmor_refusal(asks, True) == ""
    assert apparmor_refusal(pod_of(), False) == ""
    assert apparmor_refusal(pod_of(securityContext={"appArmorProfile": {"type": "Unconfined"}}), False) == ""
    empty = {"name": "web", "securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": " "}}}
    assert apparmor_refusal(pod_of(empty), True) == "Cannot enforce AppArmor: invalid empty AppArmor profile name"

    assert not kernel_has_apparmor(tmp_path)
    (tmp_path / "kernel/security/apparmor").mkdir(parents=True)
    (tmp_path / "module/apparmor/parameters").mkdir(parents=True)
    (tmp_path / "module/apparmor/parameters/enabled").write_text("Y\n")
    assert kernel_has_apparmor(tmp_path)


def sysctls(*names: str, **spec: Any) -> Object:
    return pod_of(securityContext={"sysctls": [{"name": name, "value": "1"} for name in names]}, **spec)


def test_safe_sysctls_and_those_that_were_allowed() -> None:
    assert refusal(sysctls("net.ipv4.tcp_syncookies", "kernel/shm_rmid_forced")) == ""
    assert refusal(sysctls("kernel.msgmax")) == 'forbidden sysctl: "kernel.msgmax" not allowlisted'
    assert refusal(sysctls("kernel.msgmax", "net.core.somaxconn"), ["kernel.msg*", "net.core.*"]) == ""
    assert refusal(sysctls("net.ipv4.x"), ["net.core.*"]) == 'forbidden sysctl: "net.ipv4.x" not allowlisted'
    assert refusal(pod_of()) == ""


def test_sysctls_of_the_host_are_not_a_pods() -> None:
    on_host = sysctls("net.ipv4.tcp_syncookies", hostNetwork=True)
    assert refusal(on_host) == 'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host Net enabled'
    shared = sysctls("kernel.sem", hostIPC=True)
    assert refusal(shared, ["kernel.sem"]) == 'forbidden sysctl: "kernel.sem" not allowed with host IPC enabled'


def test_patterns_that_can_be_allowed() -> None:
    assert [check_pattern(name) for name in ("kernel.msg*", "net.*", "net/ipv4/conf/eno2.100/rp_filter", "fs.mqueue.msg_max")]
    assert normalized("net/ipv4/conf/eno2.100/rp_filter") == "net.ipv4.conf.eno2/100.rp_filter"
    for wrong in ("kernel.pid_max", "vm.swappiness", "*"):
        with pytest.raises(ValueError, match="known to be a pod's own"):
            check_pattern(wrong)
    for wrong in ("", "Net.core", "net..core", "net.*.x"):
        with pytest.raises(ValueError, match=r"give sysctls|known to be"):
            check_pattern(wrong)
