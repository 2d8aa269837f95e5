"""What a data folder keeps for its owner only, and for ever."""

import fcntl
import json
import stat
from pathlib import Path
from threading import Timer

from services.keyring import parse_kek
from services.standalone.folder import Folder


def test_secrets_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    made = folder.secrets()
    assert folder.secrets() == made
    assert len(set(made.values())) == len(made)
    for name in ("key_encryption_key", "webhook_secret_key"):
        assert parse_kek(made[name])
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_an_older_folder_gets_what_it_lacks_and_keeps_what_it_has(tmp_path: Path) -> None:
    old = {"key_encryption_key": "kept", "request_hash_secret": "kept too", "api_key": "wl_test_x"}
    (tmp_path / "secrets.json").write_text(json.dumps(old))
    found = Folder(tmp_path).secrets()
    assert found == old | {"webhook_secret_key": found["webhook_secret_key"]}
    assert Folder(tmp_path).secrets() == found


def test_a_look_at_who_runs_here_does_not_keep_the_next_one_from_starting(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with Folder(tmp_path).opened():
            assert (tmp_path / "lock").read_text()
