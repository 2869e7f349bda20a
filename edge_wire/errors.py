"""What can go wrong on the wire, named for what the caller can do."""


class LinkError(Exception):
    """The broker cannot be reached or refuses us: retry later."""


class MessageRefused(Exception):
    """A message is too large, malformed, or breaks a rule; sending it again changes nothing."""


class TrustRefused(MessageRefused):
    """A message is not signed by a key that we trust."""
