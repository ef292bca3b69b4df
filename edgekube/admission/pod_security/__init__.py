"""The Pod Security Standards: what a pod may ask of its node, by the labels of its namespace."""
