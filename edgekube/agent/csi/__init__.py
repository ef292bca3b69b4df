"""CSI drivers of this node: registered, asked, and shown in its CSINode."""
