"""Label and field selectors: parse once, match objects, labels or stored bytes. Selectors are immutable.

- labels: what a label selector asks for, and how it is made of objects (LabelSelector, a plain map).
- label_text: the same from a query's text.
- fields: field selectors, from a query's text.
- kind_fields: which fields each kind lets be selected, and how they are read.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and .../field-selectors/.
"""
