"""Brings the stores in DIR into a yroom and compares what comes out: python referee.py YROOM DIR

The judge is pycrdt: it reads what `yroom export` writes, as an update and in both formats of the
stores that the content came from.
"""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
from pycrdt import Doc, Text
from pycrdt.store import FileYStore, SQLiteYStore

YROOM, DIR = sys.argv[1], Path(sys.argv[2])


def yroom(*args, data):
    command = [YROOM, *args, "--data-dir", str(data)]
    return subprocess.run(command, capture_output=True)


def text_of(update):
    doc = Doc()
    text = doc.get("text", type=Text)
    doc.apply_update(update)
    return str(text)


def beside(path, room):
    """What stands beside a room's updates that are not empty: metadata and times."""
    with sqlite3.connect(path) as db:
        sql = "SELECT metadata, timestamp, yupdate FROM yupdates WHERE path = ? ORDER BY rowid"
        return [(bytes(it), at) for it, at, update in db.execute(sql, [room]) if len(update) > 2]


def same_beside(ours, theirs):
    """Times are kept to the millisecond."""
    pairs = zip(ours, theirs, strict=False)
    same = all(a[0] == b[0] and abs(a[1] - b[1]) < 0.001 for a, b in pairs)
    return len(ours) == len(theirs) and same


async def text_in(store):
    doc = Doc()
    text = doc.get("text", type=Text)
    async with store:
        await store.apply_updates(doc)
    return str(text)


async def main():
    expected = json.loads((DIR / "expected-ypy.json").read_text())
    expected |= json.loads((DIR / "expected-pycrdt.json").read_text())
    theirs = json.loads((DIR / "theirs.json").read_text())
    # What is known to be gone or torn is said, and makes the program's exit code 1.
    damaged = {"ypy-torn.y", "squash.db"}
    wrong = lost = 0
    for kind in ("sqlite", "file"):
        for number, (file, rooms) in enumerate(expected.items()):
            data = DIR / f"data-{kind}-{number}"
            before = (DIR / file).read_bytes()
            first = yroom("import", DIR / file, "--store", kind, data=data)
            if first.returncode != (1 if file in damaged else 0):
                print("WRONG exit code", file, first)
                wrong += 1
            again = yroom("import", DIR / file, data=data).stdout.decode()
            if again.count("all of it was there") != len(rooms):
                print("WRONG: not the same twice", file, again)
                wrong += 1
            if (DIR / file).read_bytes() != before:
                print("WRONG: the source was changed", file)
                wrong += 1
            for room, text in rooms.items():
                update = yroom("export", room, data=data).stdout
                out = data / "out.y"
                yroom("export", room, "--format", "file", "-o", out, data=data)
                database = data / "out.db"
                yroom("export", "--all", "--format", "sqlite", "-o", database, data=data)
                store = type("Store", (SQLiteYStore,), {"db_path": str(database)})
                found = {
                    "update": text_of(update),
                    "file": await text_in(FileYStore(str(out))),
                    "sqlite": await text_in(store(room)),
                }
                if room == "with metadata":
                    ours, source = beside(database, room), beside(DIR / file, room)
                    if not ours or not same_beside(ours, source):
                        print("WRONG", kind, file, "times or metadata", ours, source)
                        wrong += 1
                out.unlink()
                database.unlink()
                for form, content in found.items():
                    if content != text:
                        print("WRONG", kind, file, room, form, len(content), "of", len(text))
                        wrong += 1
                if theirs.get(file, {}).get(room, text) != text:
                    lost += kind == "sqlite"
            check = subprocess.run([YROOM, "check", data], capture_output=True)
            # What export wrote beside the rooms is gone again.
            if check.returncode != 0:
                print("WRONG check", file, check)
                wrong += 1
    rooms = sum(len(rooms) for rooms in expected.values())
    print(f"{rooms} rooms in {len(expected)} stores, in two kinds of store: {wrong} wrong;")
    print(f"pycrdt-store itself does not read {lost} of these rooms whole")
    sys.exit(1 if wrong or lost < 6 else 0)


anyio.run(main)
