"""The cluster suite of tools/bench: messages and calls between two processes, Manta and peers in turns, and the daemons of a cluster."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

CASES = ["messages", "objects", "daemons"]
PEERS = ["zeromq", "socket", "erlang", "caf"]
RATES = ("per_s_8", "per_s_64", "per_s_1024")
RUN_LIMIT_S = 300
COOKIE = "bench"
DAEMON = ["--cores", "1", "--store-bytes", str(64 << 20)]  # the room is taken, and zeroed, at the start: by default up to 1 GiB a daemon


class Failure(Exception):
    pass


def run(words, **named):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=RUN_LIMIT_S, **named)
    if done.returncode != 0:
        raise Failure(f'`{" ".join(map(str, words))}` failed:\n{done.stdout}{done.stderr}')
    return done.stdout


@contextlib.contextmanager
def serving(words, env=None):
    """A process that runs meanwhile; gives its first line."""
    process = subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    try:
        line = process.stdout.readline().strip()
        if not line:
            raise Failure(f'`{" ".join(map(str, words))}` does not start')
        yield line
    finally:
        process.kill()
        process.wait()


# ---- messages ----

class Native:
    def __init__(self, binary, name):
        self.binary, self.name, self.transports = binary, name, ("ipc", "tcp")

    def measure(self, transport, messages, trips):
        return json.loads(run([self.binary, self.name, transport, messages, trips]))


class Caf:
    name, transports = "caf", ("tcp",)

    def __init__(self, program):
        self.program = program

    def measure(self, _, messages, trips):
        with serving([self.program, "serve"]) as port:
            return json.loads(run([self.program, port, messages, trips]))


class Erlang:
    """Two nodes and an epmd of their own, all on loopback."""
    name, transports = "erlang", ("tcp",)

    def __init__(self, directory):
        self.directory, self.port = directory, 20000 + os.getpid() % 12000
        self.env = dict(os.environ, ERL_EPMD_PORT=str(self.port), ERL_EPMD_ADDRESS="127.0.0.1", ERL_CRASH_DUMP="/dev/null")

    def node(self, name):
        return ["erl", "-noshell", "-pa", self.directory, "-sname", f"{name}@localhost", "-setcookie", COOKIE, "-start_epmd", "false", "-kernel",
                "inet_dist_use_interface", "{127,0,0,1}", "+sbwt", "very_short", "-run", "dist_bench"]

    def measure(self, _, messages, trips):
        epmd = subprocess.Popen(["epmd", "-port", str(self.port), "-address", "127.0.0.1"], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: subprocess.run(["epmd", "-port", str(self.port), "-names"], env=self.env, capture_output=True, check=False).returncode == 0, 10, "epmd")
            with serving(self.node("bench_sink") + ["serve"], self.env):
                out = run(self.node("bench_source") + ["main", "bench_sink@localhost", str(messages), str(trips)], env=self.env)
            return json.loads(out.splitlines()[-1])
        finally:
            epmd.kill()
            epmd.wait()


def wait_until(is_done, seconds, what):
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise Failure(f"{what} does not come up")
        time.sleep(0.02)


def measure_messages(contenders, options):
    messages, trips = (100000, 1000) if options.quick else (1000000, 5000)
    samples = {}
    for _ in range(options.rounds):
        for transport in ("ipc", "tcp"):
            for c in contenders:
                if transport in c.transports:
                    samples.setdefault((transport, c.name), []).append(c.measure(transport, messages, trips))
    rows = []
    for (transport, name), runs in sorted(samples.items(), key=lambda item: item[0][0]):
        rows.append({"transport": transport, "target": name, "runs": runs, **{key: statistics.median(r[key] for r in runs) for key in runs[0]}})
    return rows


def print_messages(rows):
    print(f'{"one way, M/s":14} {"8 B":>9} {"64 B":>9} {"1 KiB":>9} {"trip p50 us":>12} {"p99 us":>9}   Manta against it: 8 B, 64 B, 1 KiB, p50, p99')
    manta = {r["transport"]: r for r in rows if r["target"] == "manta"}
    for r in rows:
        own, ratios = manta.get(r["transport"]), ""
        if own and own is not r:
            ratios = "  ".join([f"{own[k] / r[k]:6.2f}x" for k in RATES] + [f"{r[k] / own[k]:6.2f}x" for k in ("p50_us", "p99_us")])
        print(f'{r["transport"]:5} {r["target"]:8} ' + " ".join(f"{r[k] / 1e6:9.2f}" for k in RATES) + f' {r["p50_us"]:12.1f} {r["p99_us"]:9.1f}   {ratios}')
    for transport, own in manta.items():
        verdict(f"{transport}: one way, 8 B, M/s", own["per_s_8"] / 1e6, own["per_s_8"] >= 5e6, ">= 5")
        zeromq = next((r for r in rows if r["transport"] == transport and r["target"] == "zeromq"), None)
        if zeromq:
            # within a round, so that what else the machine does meets both
            ratio = statistics.median(a["p50_us"] / b["p50_us"] for a, b in zip(own["runs"], zeromq["runs"]))
            verdict(f"{transport}: round trip, of raw ZeroMQ's", ratio, ratio <= 2, "<= 2")


def verdict(what, value, is_met, budget):
    print(f'budget: {what} {budget}: {value:.2f} {"ok" if is_met else "MISSED"}')


# ---- objects ----

def measure_objects(binary, options):
    out = run([binary, "--objects", "--json", "--rounds", min(options.rounds, 15)])
    return [json.loads(line) for line in out.splitlines()]


def print_objects(rows):
    print(f'{"one object":>10} {"raw stream us":>14} {"tcp us":>10} {"ipc us":>10} {"tcp, of raw":>12} {"ipc, of raw":>12}')
    for r in (r for r in rows if "object_kib" in r):
        print(f'{r["object_kib"]:>6} KiB {r["stream_us"]:14.1f} {r["tcp_us"]:10.1f} {r["ipc_us"]:10.1f} {r["tcp_ratio"]:12.2f} {r["ipc_ratio"]:12.2f}')
    largest = max((r for r in rows if "object_kib" in r), key=lambda r: r["object_kib"])
    verdict(f'an object of {largest["object_kib"]} KiB, of a raw TCP stream', largest["tcp_ratio"], largest["tcp_ratio"] >= 0.8, ">= 0.8")
    for r in (r for r in rows if "broadcast" in r):
        verdict(f'a broadcast of 64 MiB to {r["broadcast"]} nodes ({r["seconds"]:.2f} s), copies from the source', r["copies"], r["copies"] <= 2, "<= 2")


# ---- daemons ----

def cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def memory_kib(pid, key):
    return int(re.search(rf"^{key}: *(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8"), re.MULTILINE).group(1))


@contextlib.contextmanager
def cluster(manta, count):
    """So many daemons of one worker, started one after the other; gives the environment, the head's address, their pids, and the time until all knew each other."""
    directory = tempfile.mkdtemp(prefix="manta-bench-")
    env = dict(os.environ, MANTA_DIRECTORY=directory)
    try:
        began = time.monotonic()
        first = run([manta, "start", "--head", *DAEMON], env=env)
        head = first.split(" at ")[1].strip()
        lines = [first] + [run([manta, "start", "--address", head, *DAEMON], env=env) for _ in range(count - 1)]
        wait_until(lambda: f"{count} nodes" in run([manta, "status", "--address", head], env=env), 30, f"a cluster of {count}")
        yield env, head, [int(re.search(r"daemon (\d+)", line).group(1)) for line in lines], time.monotonic() - began
    finally:
        subprocess.run([manta, "stop"], env=env, capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)


def measure_daemons(manta, count, seconds):
    """Starts them and looks at them while nothing happens."""
    with cluster(manta, count) as (_, _, pids, started):
        time.sleep(1)
        ticks, began = sum(map(cpu_ticks, pids)), time.monotonic()
        time.sleep(seconds)
        cpu = (sum(map(cpu_ticks, pids)) - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began) / count * 100
        return {"daemons": count, "start_s": started, "cpu_percent_each": cpu, "rss_mb_each": max(memory_kib(p, "Rss") for p in pids) / 1024,
                "pss_mb_each": statistics.mean(memory_kib(p, "Pss") for p in pids) / 1024}


def print_daemons(r):
    print(f'{r["daemons"]} node daemons: all know each other after {r["start_s"]:.2f} s; idle, each: {r["rss_mb_each"]:.1f} MB resident at most '
          f'({r["pss_mb_each"]:.1f} MB with what they share split), {r["cpu_percent_each"]:.2f} % of a core')
    verdict("20 daemons start, s", r["start_s"], r["start_s"] <= 10, "<= 10")
    verdict("an idle daemon, MB", r["rss_mb_each"], r["rss_mb_each"] <= 20, "<= 20")
    verdict("an idle daemon, % of a core", r["cpu_percent_each"], r["cpu_percent_each"] <= 1, "about 0")


# ---- the suite ----

def check(options):
    cases = options.only.split(",") if options.only else CASES
    peers = [] if options.peers == "none" else (options.peers.split(",") if options.peers else PEERS)
    for names, known, what in ((cases, CASES, "benchmark"), (peers, PEERS, "peer")):
        for name in names:
            if name not in known:
                raise Failure(f'there is no {what} "{name}"; there are: {" ".join(known)}')
    return cases, peers


def contenders_of(peers, build):
    binary, result = build.messages(), []
    result.append(Native(binary, "manta"))
    result += [Native(binary, name) for name in peers if name in ("zeromq", "socket")]
    for name, make, kind in (("erlang", build.erlang, Erlang), ("caf", build.caf, Caf)):
        if name in peers:
            where, missing = make()
            if missing:
                print(missing, flush=True)
            else:
                result.append(kind(where))
    return result


def suite(options, build, machine):
    cases, peers = check(options)
    results = {}
    if "messages" in cases:
        results["messages"] = measure_messages(contenders_of(peers, build), options)
        print_messages(results["messages"])
    if "objects" in cases:
        results["objects"] = measure_objects(build.messages(), options)
        print_objects(results["objects"])
    if "daemons" in cases:
        results["daemons"] = measure_daemons(build.manta(), 20, 3 if options.quick else 10)
        print_daemons(results["daemons"])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "rounds": options.rounds, "results": results}, file, indent=1)
    return 0
