"""The vocabulary as data: kinds, schemas, defaults, validation, patches, selectors, quantities, Status errors. Pure."""
