"""The query of pods/log: what may be asked of a container's log.

Enters: a Route.
Leaves: the parameters for the agent; StatusError BadRequest for text that is no number, Invalid for values that mean nothing.
Holds: pure (source: v1 PodLogOptions; ValidatePodLogOptions of k8s.io/kubernetes pkg/apis/core/validation, v1.36).
Next: server.tunnel.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors, times
from edgekube.api.errors import Cause
from edgekube.server.parameters import integer
from edgekube.server.routes import Route

_FLAGS: Final = ("follow", "previous", "timestamps")
_NUMBERS: Final = (("limitBytes", 1), ("sinceSeconds", 1), ("tailLines", 0))
_STREAMS: Final = ("All", "Stderr", "Stdout")


def log_parameters(route: Route) -> list[tuple[str, str]]:
    """Checked, in the form that an agent takes: flags are "true" or absent."""
    chosen = [(name, "true") for name in _FLAGS if route.flag(name)]
    causes: list[Cause] = []
    for name, least in _NUMBERS:
        number = integer(route, name)
        if number is None:
            continue
        if number < least:
            why = "must be greater than 0" if least else "must be greater than or equal to 0"
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {number}: {why}", name))
        chosen.append((name, str(number)))
    since = route.parameter("sinceTime")
    if since:
        if route.parameter("sinceSeconds"):
            why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append(Cause("FieldValueForbidden", why, "sinceSeconds"))
        try:
            times.parse(since)
        except (ValueError, OverflowError) as error:
            raise errors.bad_request(str(error)) from None
        chosen.append(("sinceTime", since))
    stream = route.parameter("stream")
    if stream:
        if stream not in _STREAMS:
            supported = ", ".join(f'"{known}"' for known in _STREAMS)
            causes.append(
                Cause("FieldValueNotSupported", f'Unsupported value: "{stream}": supported values: {supported}', "stream")
            )
        elif stream != "All" and route.parameter("tailLines"):
            why = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"
            causes.append(Cause("FieldValueForbidden", why, "tailLines"))
        chosen.append(("stream", stream))
    if causes:
        raise errors.invalid("", "PodLogOptions", route.name, causes)
    return chosen
