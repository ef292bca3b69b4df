"""An AuthenticationConfiguration that changes while the server runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from edgekube.daemon.authentication import AuthenticationRefused, ConfigurationFile, read_authentication
from edgekube.daemon.authentication_reload import AuthenticationReload
from edgekube.metrics import Metrics
from edgekube.server.oidc import Provider
from edgekube.settings import Settings

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
PREFIX = "apiserver_authentication_config_controller_automatic_reloads_total"


def configuration(*names: str, more: str = "") -> str:
    rows = "".join(
        f"- issuer: {{url: 'https://{name}.example.com', audiences: [k]}}\n"
        f"  claimMappings: {{username: {{claim: sub, prefix: '{name}:'}}}}\n"
        for name in names
    )
    return f"{HEAD}jwt:\n{rows}{more}"


async def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    directory, elsewhere, metrics = tmp_path / "here", tmp_path / "elsewhere", Metrics()
    directory.mkdir()
    elsewhere.mkdir()
    path = directory / "authentication.yaml"
    path.write_text(configuration("a", "b"))
    found = read_authentication(Settings(node_name="pi", authentication_config=path), "https://own.example.com", lambda: 7.0)
    assert isinstance(found.file, ConfigurationFile)
    holds: list[Provider] = list(found.providers)

    def replace(providers: Sequence[Provider]) -> None:
        holds[:] = providers

    def count(status: str) -> float:
        lines = [line for line in metrics.text().splitlines() if line.startswith(f'{PREFIX}{{status="{status}"')]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    async def until(status: str, wanted: int) -> None:
        with trio.fail_after(60):
            while True:
                if count(status) >= wanted:
                    break
                await trio.sleep(0.01)
        assert count(status) == wanted

    def put(text: str) -> None:
        """As editors do: whoever looks sees the one or the other."""
        (elsewhere / "new").write_text(text)
        (elsewhere / "new").rename(path)

    reload = AuthenticationReload(found.file, holds, "https://own.example.com", replace, metrics, "apiserver-pi", lambda: 9.0)
    before = metrics.text()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload.run)
        put(configuration("b", "c"))
        await until("success", 1)
        assert [each.issuer_url for each in holds] == ["https://b.example.com", "https://c.example.com"]
        assert holds[0] is found.providers[1], "with its keys"
        assert before != metrics.text()
        for number, bad in enumerate(("- no: [mapping", configuration("d", more="anonymous: {enabled: false}\n")), 1):
            put(bad)
            await until("failure", number)
        assert [each.issuer_url for each in holds] == ["https://b.example.com", "https://c.example.com"], "what was before holds"
        path.write_text(configuration("d"))  # in place: it may be seen empty on the way
        await until("success", 2)
        assert [each.issuer_url for each in holds] == ["https://d.example.com"]
        nursery.cancel_scope.cancel()
    assert 'apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds{status="failure"' in metrics.text()


def test_a_mistake_in_the_file_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "authentication.yaml"
    path.write_text(configuration("a").replace("audiences: [k]", "audiences: [k], egressSelectorType: cluster"))
    with pytest.raises(AuthenticationRefused) as refused:
        read_authentication(Settings(node_name="pi", authentication_config=path), "https://own.example.com", lambda: 7.0)
    assert "jwt[0].issuer.egressSelectorType: Invalid value" in str(refused.value)
