"""The Python side of the scenarios: pycrdt's own provider over a `websockets` connection.

usage: client.py PART URL. Each part prints what it saw as one line of JSON and exits 0; what it
waited for in vain goes to stderr.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from pycrdt import (
    Array,
    Awareness,
    Doc,
    Map,
    Provider,
    Text,
    XmlElement,
    XmlFragment,
    YMessageType,
    create_awareness_message,
    read_message,
)
from websockets import connect
from websockets.exceptions import ConnectionClosed


class WebsocketChannel:
    """What pycrdt calls a channel. Keeps awareness frames, which the provider leaves aside."""

    def __init__(self, websocket, url):
        self.websocket = websocket
        self.path = urlsplit(url).path
        self.awareness = []

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return await self.recv()
        except ConnectionClosed as closed:
            raise StopAsyncIteration from closed

    async def send(self, message):
        await self.websocket.send(message)

    async def recv(self):
        message = await self.websocket.recv()
        if message[0] == YMessageType.AWARENESS:
            self.awareness.append(message)
        return message


@asynccontextmanager
async def joined(url, doc):
    """A document in a room, once the server has answered."""
    async with connect(url, max_size=None) as websocket:
        channel = WebsocketChannel(websocket, url)
        async with Provider(doc, channel) as provider:
            async with asyncio.timeout(10):
                await provider.synced.wait()
            yield channel


async def until(condition, what, seconds=10.0):
    """Waits until `condition()` is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain for {what}")
        await asyncio.sleep(0.005)


def roots(doc):
    """The roots that the scenarios use."""
    return (
        doc.get("text", type=Text),
        doc.get("map", type=Map),
        doc.get("array", type=Array),
        doc.get("xml", type=XmlFragment),
    )


def content(doc):
    text, mapping, array, xml = roots(doc)
    return {
        "text": str(text),
        "map": mapping.to_py(),
        "array": array.to_py(),
        "xml": str(xml),
    }


class Turns:
    """Gives the turn to the other side and waits for it back: a rising clock in the map `_test`."""

    def __init__(self, doc):
        self.test = doc.get("_test", type=Map)
        self.mine = 0.0

    def clock(self):
        return self.test.get("clock", -1.0)

    async def give(self):
        self.test["clock"] = self.mine
        await until(lambda: self.clock() > self.mine, "the other side's turn")
        self.mine = self.clock() + 1.0


async def counter(url):
    """Sets `in` ten times; the other side has to answer with one more in `out`."""
    doc = Doc()
    async with joined(url, doc):
        mapping = doc.get("map", type=Map)
        turns = Turns(doc)
        outs = []
        for value in range(10):
            mapping["in"] = float(value)
            await turns.give()
            outs.append(mapping["out"])
        return outs


async def cells(url):
    """Lets the other side make a notebook's cell and state, and reads them."""
    doc = Doc()
    async with joined(url, doc):
        await Turns(doc).give()
        return {
            "cells": doc.get("cells", type=Array).to_py(),
            "state": doc.get("state", type=Map).to_py(),
        }


async def both_ways(url):
    """Waits for the other side's text, adds to all four types, waits for the word `done`."""
    doc = Doc()
    async with joined(url, doc):
        text, mapping, array, xml = roots(doc)
        await until(lambda: str(text) == "from yjs", "the text of the other side")
        text += " and python"
        mapping["python"] = {"nested": [1, "two", None, True]}
        array.append(Map({"in": "a map in an array"}))
        paragraph = xml.children.append(XmlElement("p"))
        paragraph.attributes["class"] = "lead"
        paragraph.children.append("inside")
        await until(lambda: "done" in mapping, "the other side to be done")
        return content(doc)


async def presence(url):
    """Publishes a state, waits for the other side's, reports what it sees."""
    doc = Doc()
    awareness = Awareness(doc)
    async with joined(url, doc) as channel:
        awareness.set_local_state({"name": "Python"})
        update = awareness.encode_awareness_update([awareness.client_id])
        await channel.send(create_awareness_message(update))

        def others():
            for message in channel.awareness:
                awareness.apply_awareness_update(read_message(message[1:]), "remote")
            channel.awareness.clear()
            states = awareness.states.items()
            return [state for client, state in states if client != awareness.client_id and state]

        await until(lambda: others() == [{"name": "JavaScript"}], "the other side's state")
        mapping = doc.get("map", type=Map)
        await until(lambda: "done" in mapping, "the other side to be done")
        return {"client": awareness.client_id, "others": others()}


async def write(url):
    """Writes and leaves at once."""
    doc = Doc()
    async with joined(url, doc):
        text, mapping, array, _ = roots(doc)
        text += "written by python"
        mapping["float"] = 0.5
        array.extend([1, "two", None])
        return content(doc)


async def read(url):
    """Reads what there is."""
    doc = Doc()
    async with joined(url, doc):
        return content(doc)


PARTS = {part.__name__: part for part in (counter, cells, both_ways, presence, write, read)}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(PARTS[sys.argv[1]](sys.argv[2]))))
