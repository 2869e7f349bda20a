"""Whether a desired message is one to follow: signed, for this group, and not out of date."""

from edge_agent.fit import Refused
from edge_agent.store import Store
from edge_wire.assignment import Assignment
from edge_wire.errors import MessageRefused, TrustRefused
from edge_wire.messages import Reason


def check_desired(message: bytes, store: Store, group: str) -> Assignment:
    """Return the assignment of a desired message; nothing is changed.

    Args:
        message: as it came.
        store: has the root of trust and the floor.
        group: that this device is in.
    Raises: Refused: with the reason that is reported.
    """
    from edge_wire import trust  # brings cryptography, which nothing needs before

    try:
        root = trust.read_root(store.root_file().read_bytes())
    except FileNotFoundError:
        advice = "no root of trust here: run edge-agent trust CONFIG.toml root.json"
        raise Refused(Reason.NO_ROOT, advice) from None
    except (TrustRefused, OSError) as error:
        raise Refused(Reason.NO_ROOT, str(error)) from None
    try:
        assignment = trust.verify(message, root)
    except MessageRefused as error:
        raise Refused(Reason.UNTRUSTED, str(error)) from None
    if assignment.group != group:
        raise Refused(Reason.OTHER_GROUP, f"for group {assignment.group}, we are in {group}")
    floor, issued = store.floor(), assignment.issued
    if floor and floor.group == assignment.group and issued < floor.issued:
        raise Refused(Reason.OLD_ASSIGNMENT, f"issued {issued}, not after {floor.issued}")
    return assignment
