#!/usr/bin/env python3
"""Mutants of the update algebra, the awareness table and the journal, a second or two each.

    tests/mutants.py [--sample N] [--seed S] [--only FILE] PREFIX…

`cargo mutants --list` says which there are (.cargo/mutants.toml leaves some out); PREFIX is the beginning
of their names, `src/update/` for instance. With --sample so many are drawn, the same for the same seed
and sources; with --only those named in the file. What takes the time elsewhere is building the
whole engine and its tests anew for each, so the modules are put into a crate of their own, with their own
tests and the fast ones of `tests/`, in one binary. The quick tests come first, the others only for
who survives them. Time is the processor's, so that a busy machine makes no findings. Who survives here
is tried again with `cargo mutants -F NAME`, which has all tests of the engine.

Prints a line for each mutant and the score. `MUTANTS_DIR` names a directory to be kept between runs.
"""
import argparse, json, os, random, re, resource, shutil, signal, subprocess, sys, tempfile, zlib

ROOT = subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True,
                               cwd=os.path.dirname(os.path.abspath(__file__))).strip()
MODULES = ["awareness", "config", "error", "identity", "io", "journal", "json", "time", "update", "wire"]
TESTS = ["algebra", "batches", "delete_sets", "held", "merging", "values"]
# What those have beside them.
PARTS = ["algebra", "hostile"]
# Tests by the beginnings of their names, the fastest first.
STAGES = [["update::", "journal::", "json::", "values::", "batches::", "merging::"], ["awareness::", "delete_sets::"], []]
# All of them take three seconds.
CPU_SECONDS = 30
MANIFEST = """
[package]
name = "yroom"
version = "0.0.0"
edition = "2024"
[features]
default = ["provider"]
provider = []
[dependencies]
bytes = "1.12"
smallvec = { version = "1.15", features = ["union", "const_generics"] }
[dev-dependencies]
proptest = { version = "1.12", default-features = false, features = ["std"] }
yrs = { version = "0.28.1", features = ["sync"] }
[profile.mutants]
inherits = "dev"
debug = false
[profile.mutants.package."*"]
opt-level = 2
[workspace]
"""


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--sample", type=int)
    options.add_argument("--seed", type=int, default=5)
    options.add_argument("--only")
    options.add_argument("prefix", nargs="+")
    options = options.parse_args()
    mutants = [m for m in listed() if m["name"].startswith(tuple(options.prefix))]
    if options.only:
        with open(options.only) as names:
            names = {name: at for at, name in enumerate(names.read().splitlines())}
        mutants = sorted((m for m in mutants if m["name"] in names), key=lambda m: names[m["name"]])
    elif options.sample:
        mutants = random.Random(options.seed).sample(mutants, options.sample)
    home = os.environ.get("MUTANTS_DIR") or tempfile.mkdtemp(prefix="yroom-mutants-")
    lay_out(home)
    binary = build(home)
    if not binary or try_out(home, binary):
        sys.exit("without a mutation it fails already")
    counts = dict.fromkeys(["caught", "timeout", "missed", "unviable"], 0)
    for mutant in mutants:
        outcome, by = outcome_of(home, mutant)
        counts[outcome] += 1
        print(f"{outcome:8} {mutant['name']}{by and '  by ' + by}", flush=True)
    noticed = counts["caught"] + counts["timeout"]
    score = 100 * noticed / max(1, noticed + counts["missed"])
    print(" ".join(f"{key}={value}" for key, value in counts.items()), f"score={score:.1f}")


def listed():
    out = subprocess.check_output(["cargo", "mutants", "--list", "--json"], cwd=ROOT)
    return sorted(json.loads(out), key=lambda m: m["name"])


def lay_out(home):
    os.makedirs(f"{home}/src", exist_ok=True)
    for module in MODULES:
        for name in [module, f"{module}.rs"]:
            if os.path.isdir(f"{ROOT}/src/{name}"):
                shutil.rmtree(f"{home}/src/{name}", ignore_errors=True)
                shutil.copytree(f"{ROOT}/src/{name}", f"{home}/src/{name}")
            elif os.path.exists(f"{ROOT}/src/{name}"):
                shutil.copy(f"{ROOT}/src/{name}", f"{home}/src/{name}")
    shutil.rmtree(f"{home}/tests", ignore_errors=True)
    os.mkdir(f"{home}/tests")
    for test in TESTS:
        with open(f"{ROOT}/tests/{test}.rs") as source:
            text = source.read()
        # What stands at a crate's front has no place in a module.
        text = re.sub(r"^#!\[.*\]$", "", text, flags=re.M)
        text = re.sub(r"^use (model|counting)::", r"use self::\1::", text, flags=re.M)
        with open(f"{home}/tests/{test}.rs", "w") as copy:
            copy.write(text)
    for part in PARTS:
        shutil.copytree(f"{ROOT}/tests/{part}", f"{home}/tests/{part}")
    with open(f"{ROOT}/src/lib.rs") as source:
        text = source.read()
    # The modules, and what is made public of them.
    lines = re.findall(r"^(?:pub )?mod (?:%s);" % "|".join(MODULES), text, flags=re.M)
    lines += re.findall(r"^pub use (?:%s)::[^;]*;" % "|".join(MODULES), text, flags=re.M)
    lines += [f'#[cfg(test)] #[path = "../tests/{test}.rs"] mod {test};' for test in TESTS]
    with open(f"{home}/src/lib.rs", "w") as lib:
        lib.write("#![allow(dead_code, unused_imports, unreachable_pub)]\nextern crate self as yroom;\n")
        lib.write("\n".join(lines))
    with open(f"{home}/Cargo.toml", "w") as manifest:
        # Runs that share a target directory must not take each other's binaries for their own.
        manifest.write(MANIFEST.replace("0.0.0", f"0.0.{zlib.crc32(home.encode())}"))
    shutil.copy(f"{ROOT}/Cargo.lock", f"{home}/Cargo.lock")


def build(home):
    """The test binary; none if it does not compile."""
    command = ["cargo", "test", "--profile=mutants", "--lib", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode:
        return None
    return [e for e in map(json.loads, re.findall(r"^\{.*\}$", done.stdout, flags=re.M))
            if e.get("executable")][-1]["executable"]


def outcome_of(home, mutant):
    path = f"{home}/{mutant['file']}"
    with open(path) as file:
        text = file.read()
    try:
        with open(path, "w") as file:
            file.write(mutated(text, mutant))
        binary = build(home)
        if not binary:
            return "unviable", ""
        own = mutant["file"].removeprefix("src/").split("/")[0].removesuffix(".rs") + "::"
        return try_out(home, binary, [own]) or try_out(home, binary) or ("missed", "")
    finally:
        with open(path, "w") as file:
            file.write(text)


def mutated(text, mutant):
    lines = text.splitlines(keepends=True)
    start, end = [sum(map(len, lines[:at["line"] - 1])) + at["column"] - 1
                  for at in (mutant["span"]["start"], mutant["span"]["end"])]
    return text[:start] + mutant["replacement"] + text[end:]


def try_out(home, binary, *stages):
    """What notices, or nothing."""
    for tests in stages or STAGES:
        command = [binary, "--quiet", *tests]
        done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              preexec_fn=bound, env=os.environ | {"PROPTEST_MAX_SHRINK_ITERS": "0"})
        out = done.stdout.decode(errors="replace")
        if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return "timeout", ""
        if done.returncode:
            failed = re.findall(r"^    ([\w:]+)$", out, flags=re.M)
            return "caught", failed[0] if failed else f"exit {done.returncode}"
    return None


def bound():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


main()
