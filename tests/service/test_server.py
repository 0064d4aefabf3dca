"""What the server listens on answers at once."""

import asyncio
import socket

from service.server import listen
from service.settings import Settings


def test_answers_do_not_wait_for_acknowledgements() -> None:
    (listener,) = listen(Settings(model="null", port=0))

    async def accepted_nodelay() -> int:
        asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            asked.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            nodelay = await asyncio.wait_for(asked, 20)
            writer.close()
            return nodelay

    assert asyncio.run(accepted_nodelay()) == 1
