"""The store suite of tools/bench: runs manta_store_bench case by case and makes tables of the samples it prints."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

CASES = ["sizes", "get", "churn_a", "churn_b", "attach", "restart", "writers"]
PEERS = ["lmdb", "plasma"]
MIXES = {"churn_a": "1-64 MiB", "churn_b": "90 % 2-64 KiB, 10 % 1-64 MiB"}
PREFIX = "manta-bench-"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CASE_LIMIT_S = 600
WRITERS_MEMORY = GIB
# Share of --memory that a target's files and the bytes to copy take, and what is left to the rest of the machine.
SHARE = {"memcpy": 0.5, "manta": 1.05, "lmdb": 1.0, "plasma": 1.05}
SPARE = 4 * GIB


class Failure(Exception):
    pass


# ---- running ----

def parse_size(text):
    units = {"K": KIB, "M": MIB, "G": GIB}
    number, unit = (text[:-1], units[text[-1].upper()]) if text and text[-1].upper() in units else (text, 1)
    if not number.replace(".", "", 1).isdigit():
        raise Failure(f'"{text}" is no size; use 512M or 4G')
    return int(float(number) * unit)


def free_memory(directory):
    info = dict(line.split(":", 1) for line in open("/proc/meminfo", encoding="utf-8"))
    return min(shutil.disk_usage(directory).free, int(info["MemAvailable"].split()[0]) * KIB)


def choose_memory(wanted, parent, targets):
    most = (free_memory(parent) - SPARE) / sum(SHARE[t] for t in targets)
    memory = parse_size(wanted) if wanted else min(4 * GIB, int(most) // (256 * MIB) * 256 * MIB)
    if memory < 512 * MIB:
        raise Failure(f"--memory must be at least 512M; {parent} has room for {size_text(max(0, int(most)))} per target")
    if memory > most:
        raise Failure(f"{size_text(memory)} per target do not fit {parent} and the free memory: at most {size_text(max(0, int(most)))}")
    return memory


def run_case(binary, name, directory, memory, options, targets):
    folder = pathlib.Path(directory) / ("writers" if name == "writers" else "store")
    for other in pathlib.Path(directory).iterdir():
        if other != folder:
            shutil.rmtree(other)  # memory
    folder.mkdir(exist_ok=True)
    memory = min(memory, WRITERS_MEMORY) if name == "writers" else memory
    words = [binary, name, "--dir", folder, "--memory", memory, "--rounds", options.rounds, "--targets", ",".join(targets)]
    words += ["--turnovers", 2, "--limit", 50] if options.quick else []
    try:
        done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=CASE_LIMIT_S)
    except subprocess.TimeoutExpired:
        return [], f"{name} took over {CASE_LIMIT_S} s"
    samples = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return samples, None if done.returncode == 0 else f"{name} failed with {done.returncode}: {done.stderr.strip()[-600:]}"


# ---- samples ----

class Samples:
    def __init__(self):
        self.all = []

    def of(self, **wanted):
        return [s for s in self.all if all(s.get(k) == v for k, v in wanted.items())]

    def median(self, field, **wanted):
        found = [s[field] for s in self.of(**wanted) if field in s]
        return statistics.median(found) if found else None

    def ratio(self, field, above, below):
        """Median over the rounds of one sample divided by the other of the same round."""
        by_round = {s["round"]: s[field] for s in self.of(**below) if field in s}
        found = [s[field] / by_round[s["round"]] for s in self.of(**above) if field in s and by_round.get(s["round"])]
        return statistics.median(found) if found else None

    def values(self, field, **wanted):
        return sorted({s[field] for s in self.of(**wanted) if field in s})


# ---- text ----

def size_text(size):
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"


def time_text(ns):
    if ns is None:
        return "-"
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if ns >= unit:
            return f"{ns / unit:.3g} {name}" if ns < 1000 * unit else f"{ns / unit:.0f} {name}"
    return f"{ns:.0f} ns"


def number_text(value, form="{:.2f}"):
    return "-" if value is None else form.format(value)


def table(title, header, rows):
    widths = [max(len(str(line[i])) for line in [header] + rows) for i in range(len(header))]
    print(f"\n{title}")
    for line in [header] + rows:
        print("  " + "  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(line, widths))), flush=True)


# ---- tables ----

def rate_text(size, ns):
    if ns is None:
        return "-"
    return f"{1000 / ns:.2f} M/s" if size < 64 * KIB else f"{size / ns * 1e9 / GIB:.2f} GiB/s"


def show_operation(data, op, title, targets):
    here = [t for t in targets if data.of(case="sizes", op=op, target=t)]
    rows = []
    for size in data.values("size", case="sizes", op=op):
        key = {"case": "sizes", "op": op, "size": size}
        mine = data.median("ns", target="manta", **key)
        objects = data.median("objects", target="manta", **key)
        ratios = [number_text(data.ratio("ns", {"target": t, **key}, {"target": "manta", **key})) for t in here if t != "manta"]
        rate = [rate_text(size, mine)] if op == "put" else []
        rows.append([size_text(size), f"{objects:.0f}"] + [time_text(data.median("ns", target=t, **key)) for t in here] + rate + ratios)
    header = ["size", "objects"] + here + (["manta"] if op == "put" else []) + [f"vs {t}" for t in here if t != "manta"]
    if rows:
        table(title, header, rows)


def show_sizes(data, targets):
    for skipped in data.values("skipped", case="sizes"):
        print(f"skipped: objects of {size_text(skipped)} are more than a quarter of the memory of a target")
    note = "; vs: the other's time divided by the store's"
    show_operation(data, "put", "put, time of one" + note, targets)
    show_operation(data, "create", "create + seal without bytes" + note, targets)
    show_operation(data, "delete", "release of the last reference" + note, targets)


def show_get(data, targets):
    show_operation(data, "get", "get: pin, touch the first byte, unpin; in random order over so many objects", targets)


def growth_text(data, field, key):
    found = [s for s in data.of(**key) if "gave_up" not in s]
    return f"{size_text(found[0][field + '_before'])} -> {size_text(found[-1][field + '_after'])}"


def churn_row(data, case, target):
    key = {"case": case, "target": target}
    ratio = data.ratio("gib_s", key, {"case": case, "target": "memcpy"})
    turnovers = data.median("turnovers", **key)
    ended = [s for s in data.of(**key) if "gave_up" not in s]
    if not ended:
        return [target] + ["-"] * 10
    refused = statistics.median(s["refused"] / max(s["placed"], 1) for s in ended)
    if target == "memcpy":
        return [target, number_text(data.median("gib_s", **key)), number_text(ratio), f"{turnovers:.1f}"] + ["-"] * 7
    times = [time_text(data.median(field, **key)) for field in ("p50_ns", "p99_ns")] + [time_text(max(s["max_ns"] for s in ended))]
    whole = [f"{100 * refused:.1f} %", time_text(data.median("whole_p99_ns", **key))]
    return [target, number_text(data.median("gib_s", **key)), number_text(ratio), f"{turnovers:.1f}"] + times + whole + [
        growth_text(data, "file", key), growth_text(data, "index", key)]


def show_churn(data, case, targets):
    rows = [churn_row(data, case, t) for t in targets if data.of(case=case, target=t)]
    header = ["target", "GiB/s", "vs memcpy", "turnovers", "p50", "p99", "max", "refused", "p99 with refusals", "files", "index used"]
    if rows:
        table(f"churn, {MIXES[case]}, 80 % full; p50, p99, max: placing one object (create + seal)", header, rows)
    for target in targets:
        lost = len(data.of(case=case, target=target, gave_up=True))
        if lost:
            print(f"  {target} gave up in {lost} of {len(data.of(case=case, target=target))} rounds: no room for an object when all others were gone, or to release one")


def show_writers(data, targets):
    rows = []
    for size in data.values("size", case="writers"):
        for target in [t for t in targets if data.of(case="writers", target=t, size=size)]:
            key = {"case": "writers", "target": target, "size": size}
            one, two = {"writers": 1, **key}, {"writers": 2, **key}
            yard = {"case": "writers", "target": "memcpy", "size": size}
            rows.append([f"{size_text(size)}, {target}", number_text(data.median("gib_s", **one)), number_text(data.median("gib_s", **two)),
                         number_text(data.ratio("gib_s", two, one)), number_text(data.ratio("gib_s", one, {"writers": 1, **yard})),
                         number_text(data.ratio("gib_s", two, {"writers": 2, **yard}))])
    if rows:
        table("writer processes, GiB/s of all together", ["size, target", "1", "2", "2 / 1", "1 vs memcpy", "2 vs memcpy"], rows)


def show_attach(data):
    found = data.of(case="attach")
    if found:
        rows = [[size_text(found[0]["capacity"]), len(found), time_text(data.median("ns", case="attach")),
                 time_text(max(s["ns"] for s in found)), time_text(data.median("with_first_get_ns", case="attach"))]]
        table("attach of a second process", ["arena", "times", "median", "max", "median with the first get"], rows)


def show_restart(data):
    rows = []
    for kept, text in ((False, "nobody: they are freed"), (True, "another process: they stay")):
        found = data.of(case="restart", kept=kept)
        if found:
            rows.append([text, found[0]["put"], found[-1]["left"], time_text(data.median("ns", case="restart", kept=kept)),
                         time_text(max(s["ns"] for s in found))])
    if rows:
        table("restart: store_open by the next node after kill -9", ["who else holds them", "objects", "left", "median", "max"], rows)


def show(data, case, later, targets):
    if case == "sizes":
        show_sizes(data, targets)
    if case in ("sizes", "get") and not {"sizes", "get"} & set(later):
        show_get(data, targets)
    if case in MIXES:
        show_churn(data, case, targets)
    if case == "writers":
        show_writers(data, targets)
    if case == "attach":
        show_attach(data)
    if case == "restart":
        show_restart(data)


# ---- budgets ----

def budget(text, value, fine, form="{:.2f}"):
    return None if value is None else {"text": text, "value": value, "shown": form.format(value), "ok": bool(fine(value))}


def put_budgets(data):
    mine = {"case": "sizes", "op": "put", "target": "manta"}
    for size in data.values("size", **mine):
        if size >= 64 * KIB:
            least = 0.9 if size >= MIB else 0.6
            value = data.ratio("ns", {**mine, "target": "memcpy", "size": size}, {**mine, "size": size})
            yield budget(f"put {size_text(size)} >= {least} of memcpy", value, lambda v, least=least: v >= least)
        elif size <= 512:
            ns = data.median("ns", size=size, **mine)
            yield budget(f"put {size_text(size)} >= 1 M/s", 1000 / ns if ns else None, lambda v: v >= 1, "{:.2f} M/s")


def get_budgets(data):
    mine = {"case": "sizes", "op": "get", "target": "manta"}
    for size in data.values("size", **mine):
        yield budget(f"get {size_text(size)} of {data.median('objects', size=size, **mine):.0f} objects <= 1 us",
                     data.median("ns", size=size, **mine), lambda v: v <= 1000, "{:.0f} ns")


def create_budgets(data):
    mine = {"case": "sizes", "op": "create", "target": "manta"}
    sizes = data.values("size", **mine)
    if sizes:
        yield budget(f"create + seal without a copy: largest median over sizes up to {size_text(sizes[-1])} <= 20 us",
                     max(data.median("ns", size=s, **mine) for s in sizes) / 1000, lambda v: v <= 20, "{:.2f} us")


def churn_budgets(data):
    for case, mix in MIXES.items():
        mine = {"case": case, "target": "manta"}
        found = data.of(**mine)
        if not found:
            continue
        yield budget(f"churn {mix} >= 0.85 of memcpy", data.ratio("gib_s", mine, {"case": case, "target": "memcpy"}), lambda v: v >= 0.85)
        yield budget(f"churn {mix}: p99 of a placement <= 1 ms", data.median("p99_ns", **mine) / 1e6, lambda v: v <= 1, "{:.4f} ms")
        yield budget(f"churn {mix}: p99 with refusals <= 1 ms", data.median("whole_p99_ns", **mine) / 1e6, lambda v: v <= 1, "{:.4f} ms")
        for field, what in (("file", "the files grow"), ("index", "the used part of the index grows")):
            grown = 100 * (found[-1][field + "_after"] - found[0][field + "_before"]) / found[0]["file_before"]
            yield budget(f"churn {mix}: {what} by at most 0.1 % of the files", grown, lambda v: v <= 0.1, "{:+.4f} %")


def other_budgets(data):
    for size in data.values("size", case="writers", target="manta"):
        key = {"case": "writers", "target": "manta", "size": size}
        yield budget(f"2 writers of {size_text(size)} >= 1 writer", data.ratio("gib_s", {"writers": 2, **key}, {"writers": 1, **key}), lambda v: v >= 1)
    for found in data.of(case="attach")[:1]:
        yield budget(f"attach to {size_text(found['capacity'])} < 20 ms", data.median("ns", case="attach") / 1e6, lambda v: v < 20, "{:.2f} ms")


def show_budgets(data):
    found = [b for maker in (put_budgets, create_budgets, get_budgets, churn_budgets, other_budgets) for b in maker(data) if b]
    print()
    for b in found:
        print(f'budget: {b["text"]}: {b["shown"]} {"ok" if b["ok"] else "MISSED"}')
    return found


# ---- the suite ----

def names_of(only):
    wanted = only.split(",") if only else CASES
    names = [n for w in wanted for n in (["churn_a", "churn_b"] if w == "churn" else [w])]
    for name in names:
        if name not in CASES:
            raise Failure(f'there is no benchmark "{name}" in this suite; there are: {" ".join(CASES)}')
    return names


def peers_of(text):
    found = [] if text == "none" else (text or ",".join(PEERS)).split(",")
    for name in found:
        if name not in PEERS:
            raise Failure(f'there is no peer "{name}" in this suite; there are: {", ".join(PEERS)}, none')
    return found


def remove_leftovers(parent):
    """What a run that was killed could not remove: gigabytes of memory."""
    for path in pathlib.Path(parent).glob(PREFIX + "*"):
        if not os.path.exists(f'/proc/{path.name[len(PREFIX):].split("-")[0]}'):
            shutil.rmtree(path, ignore_errors=True)


def run(options, build, machine):
    """0: all cases ran; 1: some did not. What the budgets say does not matter here: a busy machine misses some. build() gives the program."""
    targets = ["memcpy", "manta"] + peers_of(options.peers)
    names, parent, data, problems = names_of(options.only), options.dir or "/dev/shm", Samples(), []
    binary = build()
    remove_leftovers(parent)
    memory = choose_memory(options.memory or ("1G" if options.quick else None), parent, targets)
    print(f"{size_text(memory)} for each of {', '.join(targets)} in {parent}; medians of {options.rounds} rounds, interleaved", flush=True)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=parent) as directory:
        for at, name in enumerate(names):
            samples, problem = run_case(binary, name, directory, memory, options, targets)
            data.all += samples
            if problem:
                problems.append(problem)
                print(f"\n{problem}", flush=True)
            show(data, name, names[at + 1:], targets)
    budgets = show_budgets(data)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"suite": "store", "machine": machine, "rounds": options.rounds, "memory_bytes": memory, "samples": data.all, "budgets": budgets,
                       "problems": problems}, file, indent=1)
    return 1 if problems else 0
