"""Filter and score: place(pod, nodes) gives a node or the reasons why not. Pure."""
