"""Child processes: started so that nothing outlives the script, and what they use of the processors."""

import os
import signal
import socket
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 30


class Failure(Exception):
    """Something that ends the comparison, in a sentence."""


class Children:
    """All that was started, so that it can be stopped whatever happens."""

    def __init__(self):
        self._running = []

    def start(self, command, **options):
        # A session of its own: Ctrl-C is for the script, which stops its children in order.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self._running.append(child)
        return child

    def run(self, command, **options):
        """Runs a command to its end and returns what it printed."""
        child = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        printed, complaint = child.communicate()
        self._running.remove(child)
        if child.returncode != 0:
            raise Failure(f"{os.path.basename(command[0])} failed:\n{complaint.strip() or printed.strip()}")
        return printed

    def stop(self, child, how):
        """Sends a signal and waits; kills what does not end."""
        if child.poll() is None:
            child.send_signal(how)
        self.wait(child, STOP_SECONDS)

    def wait(self, child, seconds):
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise Failure(f"{child.args[0]} did not end in {seconds} s and was killed") from None
        finally:
            self._running.remove(child)

    def stop_all(self):
        """Last resort: no order, no complaints."""
        # The first SIGTERM ends the measured time of `spandrel bench`, the second one all, its nodes included.
        for _ in range(2):
            for child in self._running:
                if child.poll() is None:
                    # For PostgreSQL's processes this is the signal of a fast shutdown.
                    is_server = os.path.basename(child.args[0]) == "postgres"
                    child.send_signal(signal.SIGINT if is_server else signal.SIGTERM)
            time.sleep(0.2)
        for child in self._running:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._running.clear()


def cpu_seconds(roots):
    """User and system time up to now of these processes, their children, and the children they have reaped."""
    roots = {root.pid for root in roots}
    ticks = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                # What follows the name begins with field 3.
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
        if int(name) in roots:
            ticks += user + system + reaped_user + reaped_system
        elif int(fields[1]) in roots:
            ticks += user + system
    return ticks / TICKS_PER_SECOND


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
