"""OpenAPI documents, made from the table of kinds and the schemas of types: version 3 of each group version, version 2 of all."""
