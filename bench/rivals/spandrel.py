"""The side of Spandrel: three processes with data on disk, by `spandrel bench bank`."""

import json
import os
import shutil

from figures import Figures
from processes import Failure

LIMIT_SECONDS = 120  # for loading and checking


class Spandrel:
    def __init__(self, children, binary, directory, accounts):
        self._children = children
        self._binary = binary
        self._directory = os.path.join(directory, "spandrel")
        self._accounts = accounts

    def measure(self, across, clients, seconds):
        """One run on a new cluster. Its history is recorded in the measured time and checked after it."""
        os.mkdir(self._directory)
        report = os.path.join(self._directory, "report.json")
        output = os.path.join(self._directory, "output")
        command = [self._binary, "bench", "bank", "--processes", "3", "--cores", "1", "--shards", "8"]
        command += ["--accounts", str(self._accounts), "--clients", str(clients), "--clock", "fixed:250us"]
        command += ["--cross-shard", "1" if across else "0", "--read-only", "0", "--duration", f"{seconds}s"]
        command += ["--data-dir", os.path.join(self._directory, "data"), "--json", report]
        # What is set for other runs must not change this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPANDREL_")}
        with open(output, "w", encoding="utf-8") as file:
            bench = self._children.start(command, stdout=file, stderr=file, env=environment)
            code = self._children.wait(bench, seconds + LIMIT_SECONDS)
        if code != 0:
            with open(output, encoding="utf-8") as file:
                raise Failure(f"spandrel bench failed:\n{file.read().strip()}")
        with open(report, encoding="utf-8") as file:
            found = json.load(file)
        shutil.rmtree(self._directory)
        return figures(found, across)


def figures(report, across):
    """Of a report of `bench bank --json`."""
    if report["verdict"] != "strictly serializable" or report["anomalies"]:
        raise Failure(f"the history is not right: {report['verdict']}")
    expected = report["transfers"] if across else 0
    if report["cross_shard_transfers"] != expected:
        raise Failure(f"{report['cross_shard_transfers']} transfers were across shards, not {expected}")
    used = report["cpu_seconds"]["servers"] + report["cpu_seconds"]["client"]
    latency = report["latency_ms"]["transfer"]
    cpu_us = 1e6 * used / report["transfers"]
    return Figures(report["transfers_per_second"], latency["p50"], latency["p99"], cpu_us)
