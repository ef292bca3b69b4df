"""Who manages which field: metadata.managedFields and server-side apply, as values without I/O.

The parts, from the bottom up:

- elements: one step of a path (``f:spec``, ``k:{"name":"web"}``), how it is ordered and how people read it.
- fieldsets: sets of paths in the very form that the API writes them (fieldsV1), so that nothing is parsed that did not change.
- sites: how one place of a type merges: a leaf, a map, a list with keys.
- walks: what an object says (fields_of), what differs between two (compare), one laid over another (merge), what is cut out
  (remove).
- entries: metadata.managedFields as values, and the rules of its list.
- updater: what a write means for every manager: update and apply.
- conflicts, last_applied, scale, schema_changes: what upstream's field manager does around it.

Source: sigs.k8s.io/structured-merge-diff (v6), k8s.io/apimachinery pkg/util/managedfields; KEP-555.
Next: registry.managing, which calls it from the verbs.
"""
