"""The body of a server-side apply: a configuration in YAML, which includes JSON.

Enters: the body's bytes.
Leaves: the configuration, and in upstream's words what the text says twice; StatusError BadRequest for what is neither.
Holds: pure; JSON is read as JSON, which is much faster, and as YAML only to find the lines of what it repeats.
Bound: as api.decode.
Next: registry.apply.
"""

from __future__ import annotations

from edgekube.api import decode
from edgekube.api.errors import StatusError, bad_request
from edgekube.api.objects import Object

_PREFIX = "error decoding YAML: "
#: Of what YAML it cannot be made; else of what JSON.
_NO_YAML = "error converting YAML to JSON: "
_NO_OBJECT = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "


def configuration(body: bytes, content_type: str = "") -> tuple[Object, str]:
    if body.lstrip()[:1] == b"{":
        try:
            config = decode.decode_json(body)
        except StatusError:
            pass  # YAML may begin like this, too
        else:
            if not decode.duplicate_fields(body, decode.JSON_TYPE, config):
                return config, ""
            return config, _told(decode.duplicate_fields(body, decode.YAML_TYPE, config))
    try:
        config, repeated = decode.decode_with_duplicates(body, decode.YAML_TYPE)
    except StatusError as error:
        raise bad_request(_PREFIX + _reworded(error.message)) from None
    return config, _told(repeated)


def _reworded(message: str) -> str:
    what = message.partition("json: cannot unmarshal ")[2].partition(" ")[0]
    return f"{_NO_OBJECT}{what} into Go value of type map[string]interface {{}}" if what else f"{_NO_YAML}{message}"


def _told(repeated: list[str]) -> str:
    if not repeated:
        return ""
    return "error converting YAML to JSON: yaml: unmarshal errors:\n" + "\n".join(f"  {line}" for line in repeated)
