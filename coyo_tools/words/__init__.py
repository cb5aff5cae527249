"""Words: schema, errors, settings. The vocabulary that every other layer speaks."""
