"""Real nodes on one machine, each in namespaces of its own: what the end-to-end tests run on, and people can play with.

``sudo .venv/bin/python -m tests.lab up [--nodes N] [--disk DIR]`` boots the nodes, starts ``edgekube server`` in the first and
``edgekube agent`` in the others, and opens a shell in the first with KUBECONFIG set: kubectl, curl, nft, ps and ip show what the
node sees. From another terminal, ``python -m tests.lab enter n2`` is a shell in another node, and ``python -m tests.lab tell``
pulls cables, silences nodes, gives them other addresses and switches them off. Leaving the shell is a power-off that removes
everything but the disks; the same ``--disk`` boots the same cluster again, without it the disks are removed too. Each program's
log is edgekube.log on its node's disk ($DISK in the shell).

``python -m tests.lab soak --minutes 30`` draws faults at random and asks after each whether all is as it should be.

lan.py is the switch with its faults, router.py joins two of them, guest.py is a place without a node, node.py a machine,
clusters.py a cluster of several; tests/e2e_nodes and tests/faults_nodes have them as fixtures.
"""
