"""A real SLURM cluster on this one machine: munge, slurmctld and three slurmd, as root, without systemd or cgroups.

The partition `cpu` has the nodes c1 and c2. The partition `gpu` has the node g1 with two fake GPUs. The partition
`spare` has the nodes s1 and s2, which only the test starts that kills one of them. slurmctld keeps the records of
finished jobs, so `scontrol show job` lists them. `python tests/cluster/box.py FOLDER` brings a cluster up until Ctrl-C.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

NODES = ("c1", "c2", "g1")  # up whenever the cluster is
SPARE = ("s1", "s2")  # known to the cluster, and down until a test starts them
# What the nodes advertise, which may be more than this machine has.
CPUS, MEMORY_MB, GPUS = 16, 64000, 2
PORT = 16810  # slurmctld's; the nodes' ports follow
# Jobs whose environment has lost SLURM_CONF look here.
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")

CONF = """\
ClusterName=box
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
TmpFS={root}/tmp/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
# There are no cgroups here. SLURM finds a job's processes by their parents and polls their memory.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=pmi2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=3,sched_min_interval=0,batch_sched_delay=0
KillWait=10
MinJobAge=86400
OverTimeLimit=0
ReturnToService=2
SlurmdTimeout=10
EnforcePartLimits=ALL
{nodes}
PartitionName=cpu Nodes=c1,c2 Default=YES DefaultTime=10 State=UP
PartitionName=gpu Nodes=g1 DefaultTime=10 State=UP
PartitionName=spare Nodes=s1,s2 DefaultTime=10 State=UP
"""


class Box:
    """The cluster.

    As a context manager a Box brings the cluster up and down. Another process whose SLURM_CONF leads to the same
    cluster may have a Box of its own, which asks the scheduler and starts and stops spare nodes.
    """

    def __init__(self, root: Path) -> None:
        """Prepare a cluster whose files are in the folder `root`."""
        self.root = root.absolute()
        self.daemons: dict[str, subprocess.Popen] = {}
        self.created = time.time()

    def __enter__(self) -> "Box":
        try:
            self.configure()
            for name in ("munged", "slurmctld", *NODES):
                self.start(name)
            self.wait("the nodes to register", lambda: all(self.states()[node] == "idle" for node in NODES))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run("squeue -h -o %A | xargs -r scancel", shell=True, capture_output=True)
        time.sleep(1)
        for name in reversed(list(self.daemons)):
            self.stop(name)
        for process in psutil.process_iter(["name", "create_time"]):
            if process.info["name"] == "slurmstepd" and process.info["create_time"] >= self.created:
                kill(process)
        if SYSTEM_CONF.is_symlink():
            SYSTEM_CONF.unlink()

    def configure(self) -> None:
        """Write SLURM's configuration.

        Raises:
            RuntimeError: This machine has a SLURM of its own.
        """
        if SYSTEM_CONF.exists() and not SYSTEM_CONF.is_symlink():
            raise RuntimeError(f"{SYSTEM_CONF} is a file: this machine has a SLURM of its own, which is left alone")
        for folder in ("state", "spool", "tmp", "dev"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.root / "munge.key").chmod(0o600)
        host = socket.gethostname().split(".")[0]
        known = subprocess.run(["getent", "hosts", host], capture_output=True).returncode == 0
        if not known:  # srun must be able to look this machine up
            with open("/etc/hosts", "a") as hosts:
                hosts.write(f"127.0.0.1 {host}\n")
        lines = []
        for number, node in enumerate((*NODES, *SPARE)):
            (self.root / "spool" / node).mkdir(exist_ok=True)
            (self.root / "tmp" / node).mkdir(exist_ok=True)
            gres = f" Gres=gpu:{GPUS}" if node == "g1" else ""
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={PORT + 3 + number} CPUs={CPUS} "
                f"RealMemory={MEMORY_MB}{gres} State=UNKNOWN"
            )
        for gpu in range(GPUS):
            (self.root / f"dev/nvidia{gpu}").symlink_to("/dev/null")
        (self.root / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName=g1 Name=gpu File={self.root}/dev/nvidia[0-{GPUS - 1}]\n"
        )
        conf = self.root / "slurm.conf"
        conf.write_text(CONF.format(host=host, port=PORT, root=self.root, nodes="\n".join(lines)))
        os.environ["SLURM_CONF"] = str(conf)
        SYSTEM_CONF.parent.mkdir(exist_ok=True)
        SYSTEM_CONF.unlink(missing_ok=True)
        SYSTEM_CONF.symlink_to(conf)

    def start(self, name: str) -> None:
        """Start a daemon. A node's name means its slurmd."""
        commands = {
            "munged": ["munged", "-F", "--key-file", self.root / "munge.key", "--socket", self.root / "munge.socket",
                       "--pid-file", self.root / "munged.pid", "--log-file", self.root / "munged.log",
                       "--seed-file", self.root / "munge.seed"],
            "slurmctld": ["slurmctld", "-D", "-i"],
        }  # fmt: skip
        path = {**os.environ, "PATH": f"/usr/sbin:/sbin:{os.environ['PATH']}"}
        with open(self.root / f"{name}.out", "ab") as output:
            command = [str(part) for part in commands.get(name, ["slurmd", "-D", "-N", name])]
            self.daemons[name] = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=path, start_new_session=True
            )
        if name == "munged":
            self.wait("munged", (self.root / "munge.socket").exists)
        if name == "slurmctld":
            self.wait("slurmctld", lambda: not subprocess.run(["scontrol", "ping"], capture_output=True).returncode)

    def stop(self, name: str, signal_number: int = signal.SIGTERM) -> None:
        """Stop a daemon that this Box started."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(signal_number)
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def wait(self, what: str, reached: Callable[[], bool], seconds: float = 40) -> None:
        """Wait until `reached` returns true.

        Raises:
            TimeoutError: That took more than `seconds`.
        """
        end = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {seconds:g} s; see {self.root}/*.log")
            time.sleep(0.2)

    def states(self) -> dict[str, str]:
        """Return the state of each node."""
        listed = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %t"], capture_output=True, text=True)
        return dict(line.split() for line in listed.stdout.splitlines())

    def jobs(self, *folders: Path) -> list[dict[str, str]]:
        """Return the scheduler's records of the jobs that were submitted from the folders, oldest first.

        `Rule` is added from Snakemake's comment.
        """
        listed = subprocess.run(["scontrol", "show", "job", "-o"], capture_output=True, text=True)
        jobs = []
        for line in listed.stdout.splitlines():
            job = dict(re.findall(r"(\w+(?:/\w+)?)=(\S+)", line))
            if job.get("WorkDir") in map(str, folders):
                job["Rule"] = re.sub(r"^rule_|_wildcards_.*", "", job.get("Comment", ""))
                jobs.append(job)
        return jobs


def kill(process: psutil.Process) -> None:
    """Kill a process, which may have ended already."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def install() -> None:
    """Install Debian's SLURM without starting its daemons."""
    if shutil.which("slurmctld") and shutil.which("munged"):
        return
    policy = Path("/usr/sbin/policy-rc.d")
    write_policy = not policy.exists()
    if write_policy:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        get = ["apt-get", "install", "-y", "--no-install-recommends", "munge", "slurm-wlm"]
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        if subprocess.run(get, **quiet, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(["apt-get", "update"], **quiet, check=True)
            subprocess.run(get, **quiet, check=True)
    finally:
        if write_policy:
            policy.unlink()


if __name__ == "__main__":
    install()
    with Box(Path(sys.argv[1])) as box:
        print(f"export SLURM_CONF={box.root}/slurm.conf")
        subprocess.run(["sinfo"])
        signal.pause()
