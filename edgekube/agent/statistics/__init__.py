"""What the node, its pods and their containers use, in the forms that a kubelet tells it."""
