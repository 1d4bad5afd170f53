"""How many units of a quota a request is worth: a measure of the work it makes, not of its bytes."""

TOKENS_PER_UNIT = 1000


def cost(inputs: int, megapixels: float = 0.0, tokens: int = 0) -> int:
    """One unit an input (and at least one), one for each full megapixel and each full thousand tokens of all inputs.

    So a request of one image below a megapixel costs 1, of four 12-megapixel photos 52.
    """
    return max(inputs, 1) + max(int(megapixels), 0) + max(tokens, 0) // TOKENS_PER_UNIT
