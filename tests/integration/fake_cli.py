"""Stands for `wallet-ledger` where a test is about who starts whom, not about ledgers. Run as a script.

Services answer /readyz on the port their settings name; those in FAKE_BROKEN end at once, with FAKE_CODE.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORTS = {
    "api": "HTTP_PORT",
    "ledger": "LEDGER_METRICS_PORT",
    "projections": "PROJECTIONS_METRICS_PORT",
    "intake": "INTAKE_METRICS_PORT",
}
KEY = "dp_test_fake"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == f"Bearer {KEY}"
        self.send_response(200 if self.path == "/readyz" or known else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"items": [{"customer_id": "cus_1"}]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def main(name: str, *words: str) -> int:
    data = Path(os.environ["WALLET_LEDGER_DATA_DIR"])
    with (data / "called.txt").open("a") as called:
        called.write(f"{name} {os.getpid()}\n")
    if name in os.environ.get("FAKE_BROKEN", "").split(","):
        print(f"{name} has a reason to end")
        return int(os.environ["FAKE_CODE"])
    if name == "keys":
        print(json.dumps({"api_key": KEY}))
    if name == "upstream" and "--follow" in words:
        threading.Event().wait()
    elif name == "upstream":
        print("a business is played", *words)
        Path(words[words.index("--journal") + 1]).touch()
    if name in PORTS:
        port = int(os.environ[f"WALLET_LEDGER_{PORTS[name]}"])
        ThreadingHTTPServer(
            (os.environ.get("WALLET_LEDGER_HTTP_HOST", "127.0.0.1"), port), _Handler
        ).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
