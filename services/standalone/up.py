"""`wallet-ledger up`: Kafka, PostgreSQL, ledger, projections, intake and api on this machine, from one command."""

import signal

from services.settings import Settings
from services.standalone.folder import Folder
from services.standalone.machine import Machine
from services.standalone.signals import Interrupted, interruptible
from services.standalone.voice import Voice


def up(settings: Settings) -> int:
    """Start everything and stay until a signal; the exit code for the shell."""
    folder = Folder(settings.data_dir)
    try:
        with interruptible(), folder.opened():
            Machine(settings, folder, Voice()).run()
    except Interrupted as interrupted:
        return 128 + signal.SIGINT if interrupted.number == signal.SIGINT else 0
    return 0
