"""CustomResourceDefinitions, as decisions: names, versions, schemas, validation, pruning, defaults, conversion. Pure."""
