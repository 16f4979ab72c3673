"""Whose stack it is: cleaned up when its owner dies, run by ordinary users, never led astray by links."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from ordermq.config.environment import inherited
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.database import PrivatePostgres
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place, own_folder

OWNER = """
    import sys
    from ordermq.testing.stack.account import server_account
    from ordermq.testing.stack.database import PrivatePostgres
    from ordermq.testing.stack.place import Place
    from ordermq.testing.stack.private import guarded

    place = Place.temporary(server_account())
    with guarded(place):
        postgres = PrivatePostgres(place, fsync=False)
        postgres.start()
        print(postgres.process.pid, place.data, flush=True)
        sys.stdin.read()
"""


def test_a_stack_ends_and_is_wiped_when_its_owner_is_killed():
    argv = [sys.executable, "-c", textwrap.dedent(OWNER)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        pid, data = owner.stdout.readline().split()
        assert os.path.exists(data)
        owner.kill()
    wait_until(lambda: not os.path.exists(data), 10.0, what="data deleted")
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or ") Z " in state.read_text()


ORDINARY = """
    import json, os, pwd, sys
    import encodings.idna  # all that is needed, before the interpreter is out of reach
    from pathlib import Path
    from ordermq.testing.stack.broker import PrivateBroker
    from ordermq.testing.stack.database import PrivatePostgres
    from ordermq.testing.stack.account import server_account
    from ordermq.testing.stack.place import Place

    entry = pwd.getpwnam(sys.argv[1])
    if os.geteuid() == 0:
        os.setgroups([]), os.setgid(entry.pw_gid), os.setuid(entry.pw_uid)
    place = Place.beside(Path(sys.argv[2]), server_account())
    broker, postgres = PrivateBroker(place), PrivatePostgres(place)
    try:
        broker.launch(), postgres.start(), broker.wait_ready()
        broker.add_vhost("mine"), postgres.create_database("mine")
        owners = {os.stat(f"/proc/{part.process.pid}").st_uid for part in (broker, postgres)}
        vhosts = broker.ctl("list_vhosts", "-q", "--no-table-headers").split()
        print(json.dumps({"owners": list(owners), "data": str(place.data), "vhosts": vhosts}))
    finally:
        broker.kill(), broker.epmd.kill(), postgres.kill()
"""


def test_an_ordinary_users_servers_run_as_that_user_beside_their_state():
    # Given a user that is not root, and a folder of theirs with a space in its name
    name = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    user = pwd.getpwnam(name)
    folder = Path(tempfile.gettempdir()) / f"ordermq ordinary {os.getpid()}"
    folder.mkdir(mode=0o700)
    os.chown(folder, user.pw_uid, user.pw_gid)
    state = folder / "devstack"
    try:
        # When they start a stack
        argv = [sys.executable, "-c", textwrap.dedent(ORDINARY), name, str(state)]
        done = subprocess.run(argv, env=inherited(), capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stderr
        # Then it is theirs, and lies in their folder
        said = json.loads(done.stdout)
        assert said["owners"] == [user.pw_uid]
        assert said["data"].startswith(str(state))
        assert sorted(said["vhosts"]) == ["mine", "ordermq"]
    finally:
        subprocess.run(["rm", "-rf", "--", folder], check=True)


def test_a_link_in_place_of_a_folder_is_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    (tmp_path / "link").symlink_to(elsewhere)
    with pytest.raises(StackError, match="not a folder of user"):
        own_folder(tmp_path / "link", 0o700)
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_passwords_are_readable_to_their_owner_alone():
    place = Place.temporary(server_account())
    try:
        postgres = PrivatePostgres(place, fsync=False)
        postgres.start()
        assert place.state.stat().st_mode & 0o077 == 0
        files = [path for path in place.data.rglob("*") if path.is_file() and place.state not in path.parents]
        assert len(files) > 900
        assert [path for path in files if path.stat().st_mode & 0o007] == []
        assert all(postgres.password not in word for word in command_line(postgres.process.pid))
    finally:
        postgres.kill()
        place.wipe()


def test_a_pid_that_now_belongs_to_another_process_is_not_signalled():
    place = Place.temporary(server_account())
    try:
        # PRC1. Given the pid file of a server long gone, whose number this very process now has
        postgres = PrivatePostgres(place)
        (place.state / "postgres.pid").write_text(json.dumps({"pid": os.getpid(), "started": 1}))
        # Then it counts as down, and killing it does not kill us
        assert postgres.process.pid is None
        postgres.kill()
    finally:
        place.wipe()


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
