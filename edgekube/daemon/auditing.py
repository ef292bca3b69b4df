"""The audit log of a server, where the settings ask for one.

Enters: Settings.
Leaves: what server.app tells of requests, and the file and the webhook that are to be run; None without a policy.
Holds: nothing of it is loaded without a policy; a policy with a mistake keeps the server from starting: whoever wants an audit
log wants to know that there is none.
Next: server.auditing, server.audit_file, server.audit_webhook.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgekube.metrics import Metrics
from edgekube.settings import Settings

if TYPE_CHECKING:
    from edgekube.server.audit_file import AuditFile
    from edgekube.server.audit_webhook import AuditWebhook
    from edgekube.server.auditing import Auditing, Sink


class AuditRefused(Exception):
    """The policy cannot be used; the text says why."""


def open_auditing(settings: Settings, metrics: Metrics) -> tuple[Auditing, Mapping[str, Sink]] | None:
    """AuditRefused, OSError."""
    if settings.audit_policy_file is None:
        return None
    import yaml

    from edgekube.admission.audit_policy import PolicyError, parse_policy
    from edgekube.server.auditing import Auditing

    text = settings.audit_policy_file.read_bytes()
    try:
        policy = parse_policy(yaml.safe_load(text))
    except (PolicyError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise AuditRefused(f"{settings.audit_policy_file}: {' '.join(str(error).split())}") from None
    sinks: dict[str, Sink] = {}
    if settings.audit_log_path or settings.audit_webhook_config_file is None:
        sinks["log"] = _file(settings)
    if settings.audit_webhook_config_file is not None:
        sinks["webhook"] = _webhook(settings.audit_webhook_config_file)
    return Auditing(policy, sinks, metrics), sinks


def _file(settings: Settings) -> AuditFile:
    from edgekube.server.audit_file import AuditFile, Rotation

    rotation = Rotation(settings.audit_log_maxsize, settings.audit_log_maxbackup, settings.audit_log_maxage)
    path = settings.audit_log_path or str(settings.server_dir / "audit" / "audit.log")
    if not settings.audit_log_path:
        settings.server_dir.joinpath("audit").mkdir(mode=0o700, parents=True, exist_ok=True)
    return AuditFile(path, rotation)


def _webhook(path: Path) -> AuditWebhook:
    from edgekube.client.kubeconfig import KubeconfigError, load_collector
    from edgekube.server.audit_webhook import AuditWebhook

    try:
        return AuditWebhook(load_collector(path))
    except KubeconfigError as error:
        raise AuditRefused(str(error)) from None
