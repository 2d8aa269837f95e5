"""How Python itself is set for a process that serves for long."""

import gc
import sys

_GARBAGE_MAX = 50_000
_TURN_SECONDS_MAX = 0.0005


def settle() -> None:
    """Call it once everything is loaded.

    What is loaded stays for good, and requests and batches leave next to no cycles: looking for them took 8 % of the
    api's time and a fifth of the ledger's. Whoever does leave some, and large ones, has them collected himself (the
    background check, `services/verifying.py`). A thread may keep the others waiting for 0.5 ms instead of 5: the one that
    talks to PostgreSQL needs a short turn after each answer, while another decides or encodes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_MAX, 20, 100)
    sys.setswitchinterval(_TURN_SECONDS_MAX)
