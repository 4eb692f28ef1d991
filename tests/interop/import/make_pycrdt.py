"""Makes stores with the real pycrdt-store: python make_pycrdt.py DIR

Also says what pycrdt-store itself reads back, so that it is seen which cases it loses.
"""

import gzip
import json
import os
import sqlite3
import sys
import time
import zlib

import anyio
import lz4.block
import lz4.frame
import zstandard
from pycrdt import Doc, Text
from pycrdt.store import FileYStore, SQLiteYStore, YDocNotFound

DIR = sys.argv[1]


def database(name, **attributes):
    attributes["db_path"] = os.path.join(DIR, name)
    return type("Store", (SQLiteYStore,), attributes)


def updates(words):
    doc, found = Doc(), []
    text = doc.get("text", type=Text)
    with_observer = doc.observe(lambda event: found.append(event.update))
    for word in words:
        text += word + " "
    doc.unobserve(with_observer)
    return found


async def read_back(store):
    doc = Doc()
    text = doc.get("text", type=Text)
    async with store:
        try:
            await store.apply_updates(doc)
        except YDocNotFound:
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, the user sees it
            return f"{type(error).__name__}: {error}"
    return str(text)


def joined(words):
    return "".join(word + " " for word in words)


async def fill(store, words, before=None):
    async with store:
        for count, update in enumerate(updates(words)):
            if before is not None:
                await before(count)
            await store.write(update)


async def main():
    expected, theirs = {}, {}
    words = [f"word{n}" for n in range(350)]

    async def room(make, file, name, words, before=None, prepare=lambda store: None):
        store = make(name)
        prepare(store)
        await fill(store, words, before)
        store = make(name)
        prepare(store)
        theirs.setdefault(file, {})[name] = await read_back(store)
        expected.setdefault(file, {})[name] = joined(words)

    # Three checkpoints and a tail.
    await room(database("plain.db"), "plain.db", "json:notebook:1", words)
    await room(database("plain.db"), "plain.db", "short", words[:3])

    # Every compression that somebody may have registered: the first of its two losses on reading,
    # as what is behind the checkpoint is not unpacked.
    ways = {
        "zlib": (zlib.compress, zlib.decompress),
        "gzip": (gzip.compress, gzip.decompress),
        "lz4-frame": (lz4.frame.compress, lz4.frame.decompress),
        "lz4-block": (lz4.block.compress, lz4.block.decompress),
        "zstd": (zstandard.ZstdCompressor().compress, zstandard.ZstdDecompressor().decompress),
    }
    for name, way in ways.items():
        register = lambda store: store.register_compression_callbacks(*way)  # noqa: E731
        await room(database("packed.db"), "packed.db", name, words[:150], prepare=register)

    # The second: the clock is set back by an hour after a checkpoint, and what is written then is
    # never read again.
    now = time.time
    back = 0

    async def set_back(count):
        nonlocal back
        if count == 100:
            back = 3600

    time.time = lambda: now() - back
    await room(database("clock.db"), "clock.db", "clock", words[:110], before=set_back)
    time.time = now

    # The third: a squash wipes the rows. Nothing can bring back what is gone from the file; what is
    # in the checkpoint can be had.
    file = "squash.db"
    make = database(file, squash_after_inactivity_of=1, checkpoint_interval=4)

    async def pause(count):
        if count == 9:
            await anyio.sleep(1.5)

    await room(make, file, "squash", words[:10], before=pause)
    expected[file]["squash"] = joined(words[:7])

    # A database that was made before there were checkpoints: pycrdt-store cannot start on it.
    path = os.path.join(DIR, "old.db")
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE yupdates (path TEXT NOT NULL, yupdate BLOB, metadata BLOB, "
        "timestamp REAL NOT NULL)"
    )
    db.execute("PRAGMA user_version = 2")
    for count, update in enumerate(updates(words[:5])):
        db.execute("INSERT INTO yupdates VALUES ('old', ?, x'', ?)", (update, count))
    db.commit()
    db.close()
    expected["old.db"] = {"old": joined(words[:5])}

    store = FileYStore(os.path.join(DIR, "pycrdt-file.y"))
    await fill(store, words[:50])
    expected["pycrdt-file.y"] = {"pycrdt-file": joined(words[:50])}

    with open(os.path.join(DIR, "expected-pycrdt.json"), "w") as file:
        json.dump(expected, file)
    with open(os.path.join(DIR, "theirs.json"), "w") as file:
        json.dump(theirs, file)


anyio.run(main)
