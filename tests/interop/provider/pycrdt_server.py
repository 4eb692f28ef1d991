"""pycrdt-websocket's server, as its documentation shows it; prints its port when it listens."""

import asyncio
import sys

from pycrdt.websocket import WebsocketServer
from websockets.asyncio.server import serve


class Socket:
    """What pycrdt-websocket asks of a connection."""

    def __init__(self, websocket):
        self._websocket = websocket

    @property
    def path(self):
        return self._websocket.request.path

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return await self.recv()
        except Exception:
            raise StopAsyncIteration()

    async def send(self, message):
        await self._websocket.send(message)

    async def recv(self):
        return bytes(await self._websocket.recv())


async def main(port):
    async with WebsocketServer(auto_clean_rooms=False) as server:

        async def handle(websocket):
            await server.serve(Socket(websocket))

        async with serve(handle, "127.0.0.1", port):
            print("listening", flush=True)
            await asyncio.Future()


asyncio.run(main(int(sys.argv[1])))
