"""Expressions of admission policies and match conditions: what is declared to them, and how they are compiled together.

- declarations: the variables and their types: object, oldObject, request, namespaceObject, params, authorizer.
- patch_types: ``Object{...}`` and ``JSONPatch{...}``, which mutating policies make.
- compiler: one policy's expressions; variables of its own that others may use.

Loaded only where there are such expressions.
"""
