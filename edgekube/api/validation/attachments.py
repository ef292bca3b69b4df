"""VolumeAttachments: which volume is attached where.

Enters: defaulted objects; the old one on update.
Leaves: causes appended to ``out``.
Holds: what is attached where does not change; one volume is named, or described.
Source: k8s.io/kubernetes pkg/apis/storage/validation, core/validation ValidatePersistentVolumeSpec (inline volumes).
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.csi import check_driver_name
from edgekube.api.validation.fields import Out, check, check_immutable, dns_subdomain, part, text
from edgekube.api.validation.inner import ATTACHMENT
from edgekube.api.validation.storage import check_volume_spec

_METADATA_BYTES_MAX: Final = 256 * 1024
_MESSAGE_BYTES_MAX: Final = 1024


def check_attachment(out: Out, attachment: Object) -> None:
    spec = part(attachment, "spec")
    check_driver_name(out, text(spec, "attacher"), "spec.attacher")
    source = part(spec, "source")
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    one_of_both = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if name is None and inline is None:
        out.append(causes.required("spec.source", one_of_both))
    elif name is not None and inline is not None:
        out.append(causes.forbidden("spec.source", one_of_both))
    elif name is not None and not name:
        out.append(causes.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    elif inline is not None:
        check_volume_spec(out, inline, "spec.source.inlineVolumeSpec", inline=True)
    check(out, dns_subdomain(text(spec, "nodeName")), "spec.nodeName", text(spec, "nodeName"))
    _check_attachment_status(out, part(attachment, "status"))
    if name is not None:
        check(out, dns_subdomain(name), "spec.source.persistentVolumeName", name)


def _check_attachment_status(out: Out, status: Object) -> None:
    size_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in part(status, "attachmentMetadata").items())
    if size_bytes > _METADATA_BYTES_MAX:
        out.append(causes.too_long("status.attachmentMetadata", _METADATA_BYTES_MAX))
    for key in ("attachError", "detachError"):
        error = part(status, key)
        if len(text(error, "message").encode()) > _MESSAGE_BYTES_MAX:
            out.append(causes.too_long(f"status.{key}.message", _METADATA_BYTES_MAX))
        code = error.get("errorCode")
        if isinstance(code, int) and code < 0:
            out.append(causes.invalid(f"status.{key}.errorCode", code, "must be between 0 and 2147483647, inclusive"))


def check_attachment_update(out: Out, new: Object, old: Object) -> None:
    check_attachment(out, new)
    inline = "inlineVolumeSpec" in part(part(new, "spec"), "source")
    check_immutable(out, new.get("spec"), old.get("spec"), "spec", shape=None if inline else ATTACHMENT)
