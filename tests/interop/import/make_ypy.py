"""Makes stores with the real ypy-websocket: python make_ypy.py DIR"""

import json
import os
import sys

import anyio
import y_py as Y
from ypy_websocket.ystore import FileYStore, SQLiteYStore

DIR = sys.argv[1]


class Plain(SQLiteYStore):
    db_path = os.path.join(DIR, "ypy.db")


class Squashing(SQLiteYStore):
    db_path = os.path.join(DIR, "ypy-ttl.db")
    document_ttl = 1


def updates(words):
    """One update for each word that is written into a text."""
    doc, found = Y.YDoc(), []
    doc.observe_after_transaction(lambda event: found.append(event.get_update()))
    text = doc.get_text("text")
    for word in words:
        with doc.begin_transaction() as t:
            text.extend(t, word + " ")
    return found


async def fill(store, words, pause_after=None):
    # Not `async with store`: a SQLiteYStore of 0.12.4 starts itself twice then, and fails.
    if isinstance(store, SQLiteYStore):
        await store.start()
    for count, update in enumerate(updates(words), 1):
        await store.write(update)
        if count == pause_after:
            await anyio.sleep(1.5)


async def main():
    expected = {}

    async def room(store, file, name, words, **more):
        await fill(store, words, **more)
        expected.setdefault(file, {})[name] = "".join(word + " " for word in words)

    many = [f"word{n}" for n in range(300)]
    unicode = ["日本語", "e\u0301", "🧑‍🧑‍🧒", "İstanbul"]
    await room(Plain("/many"), "ypy.db", "many", many)
    await room(Plain("folder/ünï ☃?x=1"), "ypy.db", "folder/ünï ☃?x=1", unicode)
    await room(
        Plain("with metadata", metadata_callback=lambda: b"\x00by somebody\xff"),
        "ypy.db",
        "with metadata",
        ["one", "two", "three"],
    )
    await room(Squashing("squashed"), "ypy-ttl.db", "squashed", many[:20], pause_after=10)
    await room(FileYStore(os.path.join(DIR, "ypy-file.y")), "ypy-file.y", "ypy-file", many[:50])

    # A crash in the middle of the last record: nine of ten words are whole.
    torn = os.path.join(DIR, "ypy-torn.y")
    await fill(FileYStore(torn), many[:10])
    os.truncate(torn, os.path.getsize(torn) - 30)
    expected["ypy-torn.y"] = {"ypy-torn": "".join(word + " " for word in many[:9])}
    with open(os.path.join(DIR, "expected-ypy.json"), "w") as file:
        json.dump(expected, file)


anyio.run(main)
