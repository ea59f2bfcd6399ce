"""stub"""

from conformance.generate.recipe import Invalid


def latents_invalid() -> list[Invalid]:
    """Every invalid vector of tool 4."""
    return []
