"""Webhook configurations as the chain reads them: who is asked, in which order, and what becomes of failures.

Enters: decoded Mutating- and ValidatingWebhookConfigurations, in the order of their names.
Leaves: Hooks; whether a dry run may ask one; which of them the second run of the mutating chain asks.
Holds: pure. The order is that of the configurations' names, then that of the list in each (source: k8s.io/apiserver
pkg/admission/configuration, plugin/webhook/mutating/reinvocationcontext.go).
Next: registry.webhook_plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from edgekube.admission.matching import Constraints
from edgekube.api.errors import bad_request
from edgekube.api.objects import Object, name_of

_WITHOUT_EFFECT: Final = ("None", "NoneOnDryRun")
_SECONDS_DEFAULT: Final = 10


class Hook(Struct, frozen=True):
    """One webhook of a configuration."""

    #: Unlike any other's: configuration, name, and how many of the name came before.
    uid: str
    configuration: str
    name: str
    client_config: Object
    constraints: Constraints
    fails_open: bool
    on_dry_run: bool
    timeout_seconds: int
    reinvocable: bool
    versions: tuple[str, ...]
    #: (name, CEL expression).
    conditions: tuple[tuple[str, str], ...]

    def check_dry_run(self, *, dry_run: bool) -> None:
        """StatusError BadRequest when the webhook might change something outside and nothing shall be changed."""
        if dry_run and not self.on_dry_run:
            raise bad_request(f'admission webhook "{self.name}" does not support dry run')


def hooks_of(configurations: Iterable[Object]) -> tuple[Hook, ...]:
    found: list[Hook] = []
    for configuration in configurations:
        seen: dict[str, int] = {}
        for webhook in configuration.get("webhooks") or ():
            name = str(webhook.get("name") or "")
            nth = seen[name] = seen.get(name, -1) + 1
            found.append(_hook(name_of(configuration), name, nth, webhook))
    return tuple(found)


def _hook(configuration: str, name: str, nth: int, webhook: Object) -> Hook:
    return Hook(
        f"{configuration}/{name}/{nth}",
        configuration,
        name,
        webhook.get("clientConfig") or {},
        Constraints.of_webhook(webhook),
        webhook.get("failurePolicy") == "Ignore",
        webhook.get("sideEffects") in _WITHOUT_EFFECT,
        int(webhook.get("timeoutSeconds") or _SECONDS_DEFAULT),
        webhook.get("reinvocationPolicy") == "IfNeeded",
        tuple(str(version) for version in webhook.get("admissionReviewVersions") or ()),
        tuple(
            (str(condition.get("name") or ""), str(condition.get("expression") or ""))
            for condition in webhook.get("matchConditions") or ()
        ),
    )


class Reinvocation(Struct):
    """What the first run of the mutating chain leaves for the second."""

    #: The object as the last webhook of the first run left it.
    left: bytes = b""
    _invoked: set[str] = field(default_factory=set)
    _again: set[str] = field(default_factory=set)

    def second_run(self, now: bytes) -> None:
        if now != self.left:  # a built-in plugin changed it since
            self.changed()

    def changed(self) -> None:
        """Whoever was asked before and may be asked again is."""
        self._again |= self._invoked
        self._invoked = set()

    def asked(self, hook: Hook) -> None:
        if hook.reinvocable:
            self._invoked.add(hook.uid)

    def asks_again(self, hook: Hook) -> bool:
        return hook.uid in self._again
