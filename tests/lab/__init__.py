"""Real nodes on one machine, each in namespaces of its own: what the end-to-end tests run on, and people can play with.

``sudo .venv/bin/python -m tests.lab up [--disk DIR]`` boots one node, starts ``edgekube server`` in it and opens a shell inside
with KUBECONFIG set: kubectl, curl, nft, ps and ip show what the node sees. Leaving the shell is a power-off that removes
everything but the disk; the same ``--disk`` boots the same cluster again, without it the disk is removed too. The server's
log is edgekube.log on the disk ($DISK in the shell).
"""
