"""The side of PostgreSQL: clusters of a primary with two synchronous standbys, and loads on one or two of them."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import time

from figures import Figures, percentile
from processes import Failure, cpu_seconds, free_ports

WARM_UP_SECONDS = 1  # connecting, and the first image of each page after a start
START_SECONDS = 60
LIMIT_SECONDS = 60

# Safe settings, with room enough that neither buffers nor checkpoints hold a run up.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "default_transaction_isolation": "serializable",
    "max_pred_locks_per_transaction": "256",
    "max_prepared_transactions": "200",
    "wal_level": "replica",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "hot_standby": "on",
    "max_wal_size": "4GB",
    "min_wal_size": "1GB",
    "wal_keep_size": "1GB",
    "checkpoint_timeout": "30min",
}
SYNCHRONOUS = "ANY 1 (standby1, standby2)"
STANDBYS = ("standby1", "standby2")

TABLE = """
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL) WITH (fillfactor = 50);
INSERT INTO accounts SELECT n, 1000 FROM generate_series(1, {count}) n;
"""


def programs():
    """The folder with PostgreSQL 15's programs."""
    for folder in ("/usr/lib/postgresql/15/bin", os.path.dirname(shutil.which("postgres") or "")):
        if folder and os.path.exists(os.path.join(folder, "initdb")):
            return folder
    raise Failure("PostgreSQL 15 is missing: apt-get install postgresql-15 postgresql-contrib libpq-dev")


def owner(user):
    """Options for starting the servers: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise Failure(f"no user {user}; name one by --user, PostgreSQL refuses to run as root") from None
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


class Cluster:
    """A primary and its standbys. The standbys begin as copies of the primary."""

    def __init__(self, children, directory, run_as, accounts):
        self._children = children
        self._programs = programs()
        self._directory = directory
        self._run_as = run_as
        self._servers = []
        self._accounts = accounts
        self._ports = dict(zip(("primary", *STANDBYS), free_ports(1 + len(STANDBYS))))
        os.mkdir(directory)
        if run_as:
            os.chown(directory, run_as["user"], run_as["group"])
        self._make()

    def conninfo(self, extra=""):
        return f"host=127.0.0.1 port={self._ports['primary']} user=spandrel dbname=postgres {extra}".strip()

    def roots(self):
        return self._servers

    def query(self, statements):
        command = [self._program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo()]
        return self._children.run([*command, "-c", statements]).strip()

    def start(self):
        self._start("primary", {"synchronous_standby_names": SYNCHRONOUS})
        for name in STANDBYS:
            # The name of a cluster is what its receiver of the log calls itself.
            self._start(name, {"cluster_name": name, "primary_conninfo": self.conninfo()})
        ready = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'"
        self._wait_for(lambda: self.query(ready) == str(len(STANDBYS)))
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if self.query(f"SHOW {name}") != "on":
                raise Failure(f"PostgreSQL runs with {name} off")

    def stop(self):
        # The primary first: it waits until the standbys have all of its log.
        for server in self._servers:
            self._children.stop(server, signal.SIGINT)
        self._servers = []

    def total(self):
        """All balances together; nothing may be left between prepare and commit."""
        if self.query("SELECT count(*) FROM pg_prepared_xacts") != "0":
            raise Failure("PostgreSQL has prepared transactions left")
        return int(self.query("SELECT sum(balance) FROM accounts"))

    def _make(self):
        command = [self._program("initdb"), "-D", self._place("primary"), "-U", "spandrel", "-A", "trust"]
        self._children.run([*command, "-E", "UTF8", "--locale", "C"], cwd=self._directory, **self._run_as)
        with open(os.path.join(self._place("primary"), "postgresql.conf"), "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        self._start("primary", {})
        self.query(TABLE.format(count=self._accounts))
        self.query("VACUUM ANALYZE accounts")
        self.stop()
        for name in STANDBYS:
            command = ["cp", "-a", self._place("primary"), self._place(name)]
            self._children.run(command, **self._run_as)
            command = ["touch", os.path.join(self._place(name), "standby.signal")]
            self._children.run(command, **self._run_as)

    def _program(self, name):
        return os.path.join(self._programs, name)

    def _place(self, name):
        return os.path.join(self._directory, name)

    def _start(self, name, settings):
        command = [self._program("postgres"), "-D", self._place(name), "-p", str(self._ports[name])]
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        # Opened by the script, so that there is a log even of a server that cannot write.
        with open(self._place(name) + ".log", "ab") as log:
            server = self._children.start(command, stdout=log, stderr=log, cwd=self._directory, **self._run_as)
        self._servers.append(server)
        ready = [self._program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._ports[name])]
        self._wait_for(lambda: subprocess.run(ready, check=False).returncode == 0)

    def _wait_for(self, is_so):
        deadline = time.monotonic() + START_SECONDS
        while not is_so():
            if time.monotonic() > deadline or any(server.poll() is not None for server in self._servers):
                raise Failure(f"PostgreSQL did not start:\n{self._last_words()}")
            time.sleep(0.05)

    def _last_words(self):
        words = []
        for path in sorted(glob.glob(os.path.join(self._directory, "*.log"))):
            with open(path, encoding="utf-8", errors="replace") as file:
                words += [f"{os.path.basename(path)}: {line.rstrip()}" for line in file.readlines()[-5:]]
        return "\n".join(words)


class Postgres:
    """One cluster for transfers, and two, with half of the accounts each, for transfers across them."""

    def __init__(self, children, directory, user, accounts):
        self._children = children
        self._directory = os.path.join(directory, "postgres")
        self._accounts = accounts
        self._run_as = owner(user)
        self._clusters = {}
        os.mkdir(self._directory)
        os.chmod(directory, 0o755)
        self._here = os.path.dirname(os.path.abspath(__file__))

    def measure(self, across, clients, seconds):
        clusters = self._of(across)
        for cluster in clusters:
            cluster.start()
        totals = sum(cluster.total() for cluster in clusters)
        log = os.path.join(self._directory, "load")
        length = WARM_UP_SECONDS + seconds + 1
        command = self._two_phase(clusters, clients, length, log) if across else \
            self._pgbench(clusters[0], clients, length, log)
        complaints = os.path.join(self._directory, "output")
        with open(complaints, "w", encoding="utf-8") as file:
            load = self._children.start(command, stdout=file, stderr=file)
            roots = [load, *(root for cluster in clusters for root in cluster.roots())]
            time.sleep(WARM_UP_SECONDS)
            since, used_before = time.time(), cpu_seconds(roots)
            time.sleep(seconds)
            until, used = time.time(), cpu_seconds(roots)
            code = self._children.wait(load, LIMIT_SECONDS)
        if code != 0:
            with open(complaints, encoding="utf-8") as file:
                raise Failure(f"{os.path.basename(command[0])} failed:\n{file.read().strip()}")
        if sum(cluster.total() for cluster in clusters) != totals:
            raise Failure("PostgreSQL's balances do not add up")
        for cluster in clusters:
            cluster.stop()
        return figures(log, since, until, used - used_before)

    def _of(self, across):
        if across not in self._clusters:
            names = ("a", "b") if across else ("one",)
            self._clusters[across] = [
                Cluster(
                    self._children,
                    os.path.join(self._directory, name),
                    self._run_as,
                    self._accounts // len(names),
                )
                for name in names
            ]
        return self._clusters[across]

    def _pgbench(self, cluster, clients, seconds, log):
        command = [os.path.join(programs(), "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "1"]
        command += ["-T", str(seconds), "-f", os.path.join(self._here, "transfer.sql")]
        command += ["-D", f"accounts={self._accounts}", "--max-tries", "1000", "-l", "--log-prefix", log]
        return [*command, cluster.conninfo()]

    def _two_phase(self, clusters, clients, seconds, log):
        driver = os.path.join(self._directory, "two_phase")
        if not os.path.exists(driver):
            include = self._children.run(["pg_config", "--includedir"]).strip()
            source = os.path.join(self._here, "two_phase.c")
            self._children.run(["cc", "-O2", f"-I{include}", source, "-o", driver, "-lpq"])
        # Two transfers that wait for each other on different clusters are known to neither.
        ends = [cluster.conninfo("options='-c lock_timeout=1s'") for cluster in clusters]
        accounts = str(self._accounts // len(clusters))
        return [driver, *ends, str(clients), str(seconds), accounts, f"{log}.two_phase"]


def figures(log, since, until, used):
    """Of the transfers that ended between two moments, by the load's log, which is taken away."""
    millis = []
    for path in glob.glob(f"{log}.*"):
        with open(path, encoding="utf-8") as file:
            for line in file:
                fields = line.split()
                if since <= int(fields[4]) + int(fields[5]) / 1e6 < until:
                    # Of one that was given up pgbench says why, in words.
                    if not fields[2].isdigit():
                        raise Failure(f"a transfer on PostgreSQL was given up: {line.strip()}")
                    millis.append(int(fields[2]) / 1000)
        os.remove(path)
    if not millis:
        raise Failure("no transfer on PostgreSQL committed")
    millis.sort()
    per_second = len(millis) / (until - since)
    return Figures(per_second, percentile(millis, 0.5), percentile(millis, 0.99), 1e6 * used / len(millis))
