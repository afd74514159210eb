"""Numbers in words, for all that is told. No torch."""


def counted(number: int, what: str) -> str:
    """ "1 trial" or "2 trials"."""
    return f"1 {what}" if number == 1 else f"{number} {what}s"
