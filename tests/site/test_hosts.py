# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml on hosts whose administrators changed the login, the Docker engine or the file systems."""

from __future__ import annotations

import json

import pytest
from bed_case import SERVICE, Bed, execute

pytestmark = pytest.mark.bed

bed = Bed("hosts")
#: Restrictions on the login user, whose sudo asks for a password on every test bed.
LOGIN = r"""
set -e
sed -i '1i echo "Welcome to $(hostname)."; umask 077; export LC_ALL=POSIX' /home/operator/.bashrc
echo 'Defaults requiretty' > /etc/sudoers.d/tty
mount -t tmpfs -o noexec,nosuid tmpfs /tmp
"""
#: Two hundred listeners on ports that the plan does not use.
LISTENERS = """
import socket, time
sockets = [socket.create_server(("0.0.0.0", port)) for port in range(20000, 20200)]
time.sleep(3600)
"""
#: Docker with another data root, with live restore (containers keep running while the daemon is down), and with a proxy
#: and a registry mirror that do not exist.
DOCKER = r"""
set -e
systemctl stop docker.socket docker
mkdir /var/lib/docker/moved
cd /var/lib/docker
mv image overlay2 moved/
python3 - << 'EOF'
import json, pathlib
path = pathlib.Path("/etc/docker/daemon.json")
settings = json.loads(path.read_text())
settings.update({"data-root": "/var/lib/docker/moved", "live-restore": True,
                 "registry-mirrors": ["http://127.0.0.1:9"]})
path.write_text(json.dumps(settings))
EOF
mkdir -p /etc/systemd/system/docker.service.d
printf '[Service]\nEnvironment=HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY=10.77.0.0/24\n' \
    > /etc/systemd/system/docker.service.d/proxy.conf
systemctl daemon-reload
systemctl start docker
"""
#: The folders into which packages install files are read-only, as on an immutable operating system.
READ_ONLY = r"""
set -e
mount --bind /usr/local/Ascend /usr/local/Ascend
for folder in /usr /opt /srv; do
    mount --bind $folder $folder
    mount -o remount,bind,ro $folder
done
! touch /usr/written 2> /dev/null
"""


def on_node2(script):
    """Run a script that must succeed on node2, and return its output."""
    return bed.shell("node2", script)


@pytest.fixture
def site(tmp_path):
    """Start a test bed, and return a function that runs site.yml on node2 as a normal user. The run must succeed."""
    bed("up", "--nodes", "2", "--image", "light", "--hub")

    def run(tags="npu_driver,image,weights,serving,functional", **environment):
        done = execute(bed.playbook("site", "--tags", tags, "--limit", "node2", report_path=str(tmp_path)),
                       ANSIBLE_TIMEOUT="10", **environment)
        report = json.loads((tmp_path / "report.json").read_text("utf-8"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert {report["hosts"]["node2"][stage]["status"] for stage in tags.split(",")} <= {"passed", "warned"}

    yield run
    bed("down")


def test_site_succeeds_with_a_login_banner_and_with_sudo_that_requires_a_tty_and_a_password(site):
    on_node2(LOGIN)
    bed("exec", "node2", "setsid", "--fork", "sh", "-c", f"exec python3 -c '{LISTENERS}' > /dev/null 2>&1 < /dev/null")
    refusal = on_node2("su operator -c 'sudo -n true' 2>&1 || true").strip()
    assert refusal == "sudo: sorry, you must have a tty to run sudo"
    site(ANSIBLE_PIPELINING="0")


@pytest.mark.long
def test_site_succeeds_with_another_docker_data_root_a_proxy_and_live_restore(site):
    on_node2(DOCKER)
    site()
    assert on_node2(f"docker inspect --format '{{{{.ResolvConfPath}}}}' {SERVICE}").startswith("/var/lib/docker/moved/")
    started = on_node2(f"docker inspect --format '{{{{.State.StartedAt}}}}' {SERVICE}")
    on_node2("systemctl restart docker")
    site()
    assert on_node2(f"docker inspect --format '{{{{.State.StartedAt}}}}' {SERVICE}") == started


@pytest.mark.long
def test_site_succeeds_with_read_only_program_folders(site):
    on_node2(READ_ONLY)
    site()
