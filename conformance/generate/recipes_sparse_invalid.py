"""Recipes of the invalid vectors of tool 3."""

from conformance.generate.recipe import Invalid


def sparse_invalid() -> list[Invalid]:
    return []
