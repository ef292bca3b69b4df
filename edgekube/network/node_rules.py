"""The packet filter's table for traffic between nodes, as text.

Enters: the addresses of the other nodes, the ranges of pods.
Leaves: one nft script that makes the table anew.
Holds: pure. Only nodes may speak into the tunnel; TCP learns the tunnel's size when it connects; what the node itself sends
into the tunnel carries an address that the other end answers through the tunnel. Connections are remembered as pods have them,
and not a second time as the UDP packets around them; a pod's own packets to this port elsewhere are tracked as any others.
Next: network.nft runs the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from edgekube.network.forwarding import DEVICE, PORT
from edgekube.network.peers import Address, Network

TABLE: Final = "inet edgekube_nodes"

_TABLE: Final = """
add table {table}
delete table {table}
table {table} {{
  set nodes {{
    type ipv4_addr
{elements}  }}
  chain arriving {{
    type filter hook prerouting priority raw; policy accept;
    udp dport {port} ip saddr @nodes fib daddr type local notrack
  }}
  chain leaving {{
    type filter hook output priority raw; policy accept;
    udp dport {port} ip daddr @nodes notrack
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    udp dport {port} jump tunnel
  }}
  chain tunnel {{
    ip saddr @nodes accept
    counter drop
  }}
  chain tcp_size {{
    type filter hook postrouting priority mangle; policy accept;
    oifname "{device}" tcp flags syn tcp option maxseg size set rt mtu
  }}
  chain sender {{
    type nat hook postrouting priority srcnat; policy accept;
{masquerade}  }}
}}
"""


def table(nodes: Iterable[Address], cluster: Sequence[Network]) -> str:
    known = ", ".join(str(address) for address in sorted(address for address in set(nodes) if address.version == 4))
    masquerade = "".join(
        f'    oifname "{DEVICE}" {"ip" if network.version == 4 else "ip6"} saddr != {network} masquerade\n' for network in cluster
    )
    return _TABLE.format(
        table=TABLE,
        port=PORT,
        device=DEVICE,
        elements=f"    elements = {{ {known} }}\n" if known else "",
        masquerade=masquerade,
    )
