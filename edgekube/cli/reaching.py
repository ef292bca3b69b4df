"""Ask the API as the administrator: what ``edgekube token`` and ``edgekube node`` do.

Enters: settings, and a question as a coroutine over Verbs.
Leaves: its answer; a click error in one line when the API cannot be asked or refuses.
Holds: the kubeconfig of this machine's server is used, no other. Next: client.remote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click

from edgekube.client.kubeconfig import KubeconfigError, load_kubeconfig
from edgekube.client.remote import RemoteVerbs
from edgekube.settings import Settings

T = TypeVar("T")

#: The settings by which a command finds the kubeconfig.
WHERE: Final = frozenset({"data-dir", "https-port"})


def ask_api(settings: Settings, question: Callable[[RemoteVerbs], Awaitable[T]]) -> T:
    import trio

    from edgekube.api.errors import StatusError

    path = settings.kubeconfig
    try:
        target = load_kubeconfig(path)
    except KubeconfigError as error:
        hint = "use sudo" if isinstance(error.__cause__, PermissionError) else "this command runs on a server"
        raise click.ClickException(f"{error} ({hint})") from None

    async def run() -> T:
        async with RemoteVerbs(target) as verbs:
            return await question(verbs)

    try:
        return trio.run(run)
    except StatusError as error:
        if error.reason == "ServiceUnavailable":
            raise click.ClickException(f"the server does not answer ({error.message}): see edgekube status") from None
        raise click.ClickException(error.message) from None
