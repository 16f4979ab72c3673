"""``python -m ordermq.shop.sandbox``: run the third parties until SIGTERM."""

import argparse
import os
import signal
import sys
from pathlib import Path

from ordermq.shop.sandbox.mail import MailListener, SandboxMail
from ordermq.shop.sandbox.payment import SandboxPayments
from ordermq.shop.sandbox.server import SandboxServer
from ordermq.shop.sandbox.sms import SandboxSms
from ordermq.shop.sandbox.third_party import ThirdParty


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="ordermq.shop.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="Folder of the journals.")
    parser.add_argument("--uid", type=int, default=os.geteuid(), help="User id to change to.")
    parser.add_argument("--gid", type=int, default=os.getegid(), help="Group id to change to.")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if args.uid != os.geteuid():
        # The account changes here, not in the starter, because perhaps only root can read the interpreter.
        os.setgroups([])
        os.setgid(args.gid)
        os.setuid(args.uid)
    mail = SandboxMail(args.data)
    services: dict[str, ThirdParty] = {
        "payment": SandboxPayments(args.data), "sms": SandboxSms(args.data), "mail": mail,
    }  # fmt: skip
    MailListener(args.smtp_port, mail).start()
    with SandboxServer(args.port, services) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
