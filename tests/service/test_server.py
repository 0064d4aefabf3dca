"""What the server listens on answers at once."""

import asyncio
import socket

import uvicorn

from service.server import UVICORN, listen
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

    loop_factory = uvicorn.Config(None, **UVICORN).get_loop_factory()  # type: ignore[arg-type]
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(accepted_nodelay()) == 1
